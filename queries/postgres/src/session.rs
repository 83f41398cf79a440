//! What a client asks, in the two ways that the protocol has: a text at once, or a statement that is read, described,
//! given its parameters and run in steps.

use crate::catalogue::Catalogue;
use crate::interrupt::Interrupt;
use crate::settings;
use crate::statement::{Statement, parse};
use crate::words::{of, said};
use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ParamValues;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{Ident, Statement as Sql};
use datafusion_postgres::QueryHook as _;
use datafusion_postgres::arrow_pg::datatypes::df::deserialize_parameters;
use datafusion_postgres::arrow_pg::datatypes::{arrow_schema_to_pg_fields, encode_recordbatch, into_pg_type};
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use datafusion_postgres::hooks::set_show::SetShowHook;
use datafusion_postgres::hooks::transactions::TransactionStatementHook;
use datafusion_postgres::pgwire::api::portal::{Format, Portal};
use datafusion_postgres::pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use datafusion_postgres::pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse, Response, Tag};
use datafusion_postgres::pgwire::api::stmt::QueryParser;
use datafusion_postgres::pgwire::api::store::PortalStore;
use datafusion_postgres::pgwire::api::{ClientInfo, ClientPortalStore, ConnectionHandle, Type};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::pgwire::messages::response::TransactionStatus;
use datafusion_postgres::pgwire::types::format::FormatOptions;
use futures::{Sink, StreamExt as _, stream};
use queries::{Answer, Described, Engine, Error, Parameters, Question, Viewer};
use std::fmt;
use std::sync::Arc;

/// Answers the statements of all connections; what one connection has set lies with its client.
pub(crate) struct Session {
    reader: Arc<Reader>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// Reads statements, and asks the engine.
pub(crate) struct Reader {
    engine: Engine,
    catalogue: Arc<Catalogue>,
    parser: Arc<PostgresCompatibilityParser>,
}

/// A statement that was read.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    statement: Statement,
    /// What the engine says of it.
    described: Described,
}

impl Session {
    pub(crate) fn new(engine: Engine, catalogue: Arc<Catalogue>) -> Self {
        let parser = Arc::new(PostgresCompatibilityParser::new());
        Self { reader: Arc::new(Reader { engine, catalogue, parser }) }
    }

    /// Runs one statement.
    async fn run<C>(
        &self,
        client: &mut C,
        statement: &Statement,
        parameters: Parameters,
        format: &Format,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match statement {
            Statement::Setting(ast) => {
                // One that knows nothing, and is thrown away with whatever was set.
                let settings = SessionContext::new();
                if let Some(shown) = shown(client, ast) {
                    return shown;
                }
                if let Some(answered) = TransactionStatementHook.handle_simple_query(ast, &settings, client).await {
                    return answered;
                }
                let answered = SetShowHook.handle_simple_query(ast, &settings, client).await;
                answered.unwrap_or_else(|| Err(said("0A000", "this setting is not supported")))
            }
            _ if client.transaction_status() == TransactionStatus::Error => {
                let text = "current transaction is aborted, commands ignored until end of transaction block";
                Err(said("25P02", text))
            }
            Statement::Nothing(word) => Ok(Response::Execution(Tag::new(word))),
            Statement::Query { sql, as_written } => {
                let question = self.reader.question(client, sql.clone(), parameters)?;
                let text = as_written.then_some(sql.as_str());
                let answer = self.reader.engine.ask(question).await.map_err(|error| of(&error, text))?;
                let options = Arc::new(FormatOptions::from_client_metadata(client.metadata()));
                let handle = client.session_extensions().get::<Arc<ConnectionHandle>>();
                let interrupt = Interrupt::new(handle.map(|handle| handle.as_ref().clone()));
                rows((answer, interrupt), format, options).map(Response::Query)
            }
        }
    }
}

impl Reader {
    async fn read(&self, sql: &str) -> PgWireResult<Vec<Statement>> {
        let parser = self.parser.clone();
        self.engine.read(sql, move |sql| parse(&parser, sql)).await.map_err(|error| of(&error, Some(sql)))?
    }

    fn question<C: ClientInfo>(&self, client: &C, sql: String, parameters: Parameters) -> PgWireResult<Question> {
        let viewer = client.session_extensions().get::<Viewer>();
        let viewer = viewer.ok_or_else(|| said("08P01", "a statement came before the login"))?;
        let viewer = viewer.as_ref().clone();
        Ok(Question { sql, parameters, viewer, is_report: false, id: None, surroundings: Some(self.catalogue.clone()) })
    }
}

/// The rows of an answer, encoded as they come, until the client wants an end.
fn rows(
    (answer, interrupt): (Answer, Interrupt),
    format: &Format,
    options: Arc<FormatOptions>,
) -> PgWireResult<QueryResponse> {
    let fields = Arc::new(arrow_schema_to_pg_fields(answer.schema(), format, Some(options))?);
    let encoded = fields.clone();
    let batches = stream::unfold(Some((answer, interrupt)), |asked| async move {
        let (mut answer, mut interrupt) = asked?;
        tokio::select! {
            biased;
            () = interrupt.came() => Some((Err(Error::Cancelled), None)),
            batch = answer.next() => Some((batch?, Some((answer, interrupt)))),
        }
    });
    let rows = batches.flat_map(move |batch| match batch {
        Ok(batch) => stream::iter(encode_recordbatch(encoded.clone(), batch).collect::<Vec<_>>()),
        Err(error) => stream::iter(vec![Err(of(&error, None))]),
    });
    Ok(QueryResponse::new(fields, rows))
}

#[async_trait]
impl SimpleQueryHandler for Session {
    async fn do_query<C>(&self, client: &mut C, sql: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statements = self.reader.read(sql).await?;
        if statements.is_empty() {
            return Ok(vec![Response::EmptyQuery]);
        }
        let mut responses = Vec::with_capacity(statements.len());
        for statement in &statements {
            responses.push(self.run(client, statement, Vec::new(), &Format::UnifiedText).await?);
        }
        Ok(responses)
    }
}

#[async_trait]
impl QueryParser for Reader {
    type Statement = Prepared;

    async fn parse_sql<C>(&self, client: &C, sql: &str, _: &[Option<Type>]) -> PgWireResult<Option<Prepared>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let mut statements = self.read(sql).await?;
        if statements.len() > 1 {
            return Err(said("42601", "cannot insert multiple commands into a prepared statement"));
        }
        let Some(statement) = statements.pop() else { return Ok(None) };
        let described = match &statement {
            Statement::Query { sql, as_written } => {
                let question = self.question(client, sql.clone(), Vec::new())?;
                let text = as_written.then_some(sql.as_str());
                self.engine.describe(question).await.map_err(|error| of(&error, text))?
            }
            Statement::Setting(ast) => Described { schema: settings_answer(ast), parameters: Vec::new() },
            Statement::Nothing(_) => Described { schema: Arc::new(Schema::empty()), parameters: Vec::new() },
        };
        Ok(Some(Prepared { statement, described }))
    }

    fn get_parameter_types(&self, prepared: &Prepared) -> PgWireResult<Vec<Type>> {
        let known = |kind: &Option<DataType>| kind.as_ref().map_or(Ok(Type::UNKNOWN), into_pg_type);
        prepared.described.parameters.iter().map(known).collect()
    }

    fn get_result_schema(&self, prepared: &Prepared, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        arrow_schema_to_pg_fields(&prepared.described.schema, format.unwrap_or(&Format::UnifiedText), None)
    }
}

/// The columns of what a setting answers: SHOW has one.
fn settings_answer(ast: &Sql) -> Arc<Schema> {
    let name = match ast {
        Sql::ShowVariable { variable } => Some(variable_name(variable)),
        Sql::ShowStatus { .. } | Sql::ShowCatalogs { .. } => Some("show".into()),
        _ => None,
    };
    let column = name.map(|name| Field::new(name, DataType::Utf8, false));
    Arc::new(Schema::new(column.into_iter().collect::<Vec<_>>()))
}

/// The name of a setting, of which some have two.
fn variable_name(variable: &[Ident]) -> String {
    let words: Vec<String> = variable.iter().map(|word| word.value.to_lowercase()).collect();
    match words.join(" ").as_str() {
        "time zone" => "timezone".into(),
        "transaction isolation level" => "transaction_isolation".into(),
        name => name.into(),
    }
}

/// What SHOW answers: what the client has set, else what holds; `None` for a setting that isn't known here.
fn shown<C: ClientInfo>(client: &C, ast: &Sql) -> Option<PgWireResult<Response>> {
    let Sql::ShowVariable { variable } = ast else { return None };
    let name = variable_name(variable);
    let set = client.metadata().iter().find(|(set, _)| set.eq_ignore_ascii_case(&name));
    let value = settings::value(&name).map(|value| set.map_or(value, |(_, set)| set))?.to_owned();
    let fields = Arc::new(vec![FieldInfo::new(name, None, None, Type::TEXT, FieldFormat::Text)]);
    let mut encoder = DataRowEncoder::new(fields.clone());
    let row = encoder.encode_field(&Some(value)).map(|()| encoder.take_row());
    Some(row.map(|row| Response::Query(QueryResponse::new(fields, stream::iter([Ok(row)])))))
}

#[async_trait]
impl ExtendedQueryHandler for Session {
    type Statement = Prepared;
    type QueryParser = Reader;

    fn query_parser(&self) -> Arc<Reader> {
        self.reader.clone()
    }

    async fn do_query<C>(&self, client: &mut C, portal: &Portal<Prepared>, _: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let Prepared { statement, described } = &portal.statement.statement;
        let types: Vec<Option<&DataType>> = described.parameters.iter().map(Option::as_ref).collect();
        let parameters = named(deserialize_parameters(portal, &types)?);
        self.run(client, statement, parameters, &portal.result_column_format).await
    }
}

/// Values by their number, as the engine takes them.
fn named(values: ParamValues) -> Parameters {
    match values {
        ParamValues::List(values) => {
            let numbered = (1_usize..).zip(values);
            numbered.map(|(number, value)| (number.to_string(), value.value)).collect()
        }
        ParamValues::Map(values) => values.into_iter().map(|(name, value)| (name, value.value)).collect(),
    }
}
