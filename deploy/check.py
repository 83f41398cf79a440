"""Holds rendered manifests, the Compose file and the dashboard against their schemas; called by `check`."""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import jsonschema
import kubernetes_validate
import yaml

HERE = pathlib.Path(__file__).parent


def custom(folders, kind, api):
    """The schema of a custom resource; None if the folders have none of this kind."""
    for folder in folders:
        for file in pathlib.Path(folder).glob(f"*_{kind.lower()}s.yaml"):
            for version in yaml.safe_load(file.read_text())["spec"]["versions"]:
                if api.endswith(f"/{version['name']}"):
                    return closed(version["schema"]["openAPIV3Schema"])
    return None


def closed(schema):
    """The schema, in which an unknown field is a fault: the API server would drop it without a word."""
    if not isinstance(schema, dict):
        return schema
    schema = {name: closed(value) if name != "properties" else {key: closed(of) for key, of in value.items()}
              for name, value in schema.items()}
    # Go's expressions may turn a flag on in the middle, Python's only in front.
    if isinstance(schema.get("pattern"), str):
        schema["pattern"] = schema["pattern"].replace("^(?i)", "(?i)^")
    known = schema.get("properties")
    is_open = "additionalProperties" in schema or schema.get("x-kubernetes-preserve-unknown-fields")
    if known and not is_open and "kind" not in known:
        schema["additionalProperties"] = False
    return schema


def manifests(files, version, folders):
    """Yields a fault for each manifest that its schema refuses."""
    for file in files:
        seen = 0
        for manifest in yaml.safe_load_all(pathlib.Path(file).read_text()):
            if manifest is None:
                continue
            seen += 1
            kind, api, name = manifest["kind"], manifest["apiVersion"], manifest["metadata"]["name"]
            try:
                if schema := custom(folders, kind, api):
                    jsonschema.validate(manifest, schema)
                else:
                    kubernetes_validate.validate(manifest, version, strict=True)
            except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
                yield f"{kind} {name}: {error.message} at {list(error.path)}"
            except (kubernetes_validate.InvalidSchemaError, kubernetes_validate.SchemaNotFoundError) as error:
                yield f"{kind} {name}: {error}"
        print(f"{seen} manifests of {pathlib.Path(file).name}")
        if seen < 15:
            yield f"only {seen} manifests in {file}"


def compose(schema):
    """Yields a fault if the Compose file is none, or names a file that isn't there."""
    document = yaml.safe_load((HERE / "compose/compose.yaml").read_text())
    for error in jsonschema.Draft7Validator(json.loads(pathlib.Path(schema).read_text())).iter_errors(document):
        yield f"compose.yaml: {error.message} at {list(error.path)}"
    made = {"./killfeed.toml", "./schemas"}
    for name, service in document["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith(".") and source not in made and not (HERE / "compose" / source).exists():
                yield f"compose.yaml: {name} mounts {source}, which isn't there"
        for needed in service.get("depends_on", []):
            if needed not in document["services"]:
                yield f"compose.yaml: {name} needs {needed}, which isn't there"


def dashboard(promtool):
    """Yields a fault for each panel without a source, and each query that isn't PromQL."""
    document = json.loads((HERE / "grafana/killfeed.json").read_text())
    ids, queries = set(), []
    for panel in document["panels"]:
        if panel["id"] in ids:
            yield f"dashboard: id {panel['id']} twice"
        ids.add(panel["id"])
        if panel["type"] == "row":
            continue
        if not panel.get("description") or not panel["targets"] or panel["datasource"]["uid"] != "${datasource}":
            yield f"dashboard: panel {panel['title']} lacks a description, a query or the data source"
        queries += [target["expr"].replace("$__rate_interval", "1m") for target in panel["targets"]]
    rules = {"groups": [{"name": "dashboard", "rules": [
        {"record": f"query:{place}", "expr": query} for place, query in enumerate(queries)]}]}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(rules, file)
        file.flush()
        checked = subprocess.run([promtool, "check", "rules", file.name], capture_output=True, text=True, check=False)
    print(f"{len(queries)} queries of the dashboard")
    if checked.returncode != 0:
        yield f"dashboard: {checked.stdout}{checked.stderr}"


def main():
    """Prints all faults; ends with 1 if there is any."""
    parser = argparse.ArgumentParser()
    for option in ["--kubernetes", "--compose", "--promtool"]:
        parser.add_argument(option, required=True)
    parser.add_argument("--crds", action="append", required=True)
    parser.add_argument("manifests", nargs="+")
    told = parser.parse_args()
    faults = [
        *manifests(told.manifests, told.kubernetes, told.crds),
        *compose(told.compose),
        *dashboard(told.promtool),
    ]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
