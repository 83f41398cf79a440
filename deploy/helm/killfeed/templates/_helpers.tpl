{{- define "killfeed.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Of all objects. */}}
{{- define "killfeed.labels" -}}
app.kubernetes.io/name: killfeed
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* Of one role's pods: takes a dict of root and role. */}}
{{- define "killfeed.selector" -}}
app.kubernetes.io/name: killfeed
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{/* Options as environment variables: takes a dict of flag names to values. */}}
{{- define "killfeed.environment" -}}
{{- range $name, $value := . }}
- name: KILLFEED_{{ $name | replace "-" "_" | upper }}
  value: {{ ternary (int64 $value | toString) (toString $value) (kindIs "float64" $value) | quote }}
{{- end }}
{{- end }}

{{/* What every container of ours may and may not. */}}
{{- define "killfeed.container-security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- define "killfeed.pod-security" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{/* A role's pod: takes a dict of root, role and settings. */}}
{{- define "killfeed.pod" -}}
{{- $root := .root }}
metadata:
  labels:
    {{- include "killfeed.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
  {{- with $root.Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ $root.Release.Name }}
  automountServiceAccountToken: false
  # Variables that begin with KILLFEED_ are options.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add (mul 3 $root.Values.drainSeconds) 15 }}
  securityContext:
    {{- include "killfeed.pod-security" $root | nindent 4 }}
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  # Over zones first, over nodes where there are enough: one that fails takes few of a role with it.
  topologySpreadConstraints:
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "killfeed.selector" (dict "root" $root "role" $.role) | nindent 10 }}
    {{- end }}
  containers:
    - name: killfeed
      image: {{ include "killfeed.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: [{{ .role }}]
      securityContext:
        {{- include "killfeed.container-security" $root | nindent 8 }}
      env:
        - name: KILLFEED_DATA_DIR
          value: /var/lib/killfeed
        - name: KILLFEED_LISTEN
          value: "0.0.0.0:8080"
        - name: KILLFEED_CONFIG
          value: /etc/killfeed/config/killfeed.toml
        - name: KILLFEED_SCHEMAS
          value: /etc/killfeed/schemas
        - name: KILLFEED_DRAIN_TIMEOUT
          value: {{ printf "%ds" (int $root.Values.drainSeconds) | quote }}
        {{- include "killfeed.environment" (mergeOverwrite (dict) $root.Values.options .settings.options) | nindent 8 }}
        {{- with $root.Values.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $root.Values.envFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - { name: http, containerPort: 8080 }
      # Taking partitions over, or opening many tables, may take minutes; nothing else makes a process unwell that a
      # restart would help.
      startupProbe:
        httpGet: { path: /healthz, port: http }
        periodSeconds: 5
        failureThreshold: 60
      livenessProbe:
        httpGet: { path: /healthz, port: http }
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: { path: /readyz, port: http }
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      lifecycle:
        # Until nobody sends here any more; from SIGTERM on new events are refused.
        preStop: { exec: { command: [sleep, "5"] } }
      resources:
        {{- toYaml .settings.resources | nindent 8 }}
      volumeMounts:
        - { name: data, mountPath: /var/lib/killfeed }
        - { name: config, mountPath: /etc/killfeed/config, readOnly: true }
        - { name: schemas, mountPath: /etc/killfeed/schemas, readOnly: true }
  volumes:
    - name: config
      secret: { secretName: {{ $root.Values.configSecret }} }
    {{- include "killfeed.schemas-volume" $root | nindent 4 }}
    {{- if not .settings.data.persistent }}
    - name: data
      emptyDir: { sizeLimit: {{ .settings.data.size }} }
    {{- end }}
{{- end }}

{{/* <type>.<version>.json as <type>/<version>.json. */}}
{{- define "killfeed.schemas-volume" -}}
- name: schemas
  {{- if .Values.schemas }}
  configMap:
    name: {{ .Release.Name }}-schemas
    items:
      {{- range $name, $_ := .Values.schemas }}
      - key: {{ $name }}
        path: {{ regexReplaceAll "^(.*)\\.([0-9]+)\\.json$" $name "${1}/${2}.json" }}
      {{- end }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end }}
