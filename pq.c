/*
 * A connection: connect, run a statement, COPY out, COPY in, and wait on several sockets at once.
 * With conninfo.c the only file that knows libpq. Sockets are non-blocking and every wait is a ppoll that lets signals in.
 */
#include <errno.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tdispatch.h"

#define CONNECT_TIMEOUT_S 15            /* for each host, where the conninfo has no connect_timeout */
#define NETWORK_TIMEOUT_MS 10000        /* what was sent is not acknowledged: the network is dead */
#define LOOK_MS 1000                    /* longest wait before we look whether the server is still there */

enum copy_state { NO_COPY, COPY_OUT, COPY_IN_ASKED, COPY_IN_OPEN, COPY_IN_ENDED };

struct pq {
	PGconn *conn;
	const char *what;
	int64_t opened_ms;
	PGresult *rows;                 /* of the last query, or NULL */
	PGresult *failed;               /* the last error's result, or NULL */
	char *row;                      /* COPY OUT's last message: libpq's memory */
	char column[NAME_BYTES_MAX + 1];
	char tag[64];
	enum copy_state state;
	int copies;                     /* COPYs of the statement sent that are not over yet */
	int64_t copied;                 /* rows of the COPY that ended last */
	short want;                     /* poll events that the last call waits for, 0 for none */
	bool readable;                  /* the last wait saw input */
	int64_t silent_since_ms;        /* we wait for the server since then, 0 while we do not */
};

static int64_t server_timeout_ms;

void pq_setup(int64_t timeout_ms)
{
	server_timeout_ms = timeout_ms;
}

/* ---- errors */

static int classify(const char *state)
{
	static const struct { const char *prefix; int code; } classes[] = {
		{ "08", ERR_CONN }, { "57P01", ERR_CONN }, { "57P02", ERR_CONN }, { "57P03", ERR_CONN },
		{ "57P05", ERR_CONN },
		{ "53", ERR_RESOURCE },
		{ "42501", ERR_RIGHTS }, { "28", ERR_RIGHTS }, { "3D000", ERR_RIGHTS }, { "3F000", ERR_RIGHTS },
		{ "25006", ERR_READONLY },
		{ "57014", ERR_TIMEOUT }, { "25P03", ERR_TIMEOUT }, { "25P04", ERR_TIMEOUT }, { "55P03", ERR_TIMEOUT },
		{ "40001", ERR_CONFLICT }, { "40P01", ERR_CONFLICT }, { "42P07", ERR_CONFLICT },
		{ "21", ERR_DATA }, { "22", ERR_DATA }, { "23", ERR_DATA }, { "44", ERR_DATA },
		{ "54", ERR_DATA }, { "P0", ERR_DATA },
		{ "42", ERR_SHAPE },
	};

	for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
		if (strncmp(state, classes[i].prefix, strlen(classes[i].prefix)) == 0)
			return classes[i].code;
	return ERR_OTHER;
}

/* text with its lines joined and the source location of verbose messages left out. */
static void join_lines(const char *text, char *out, size_t size)
{
	size_t n = 0;

	while (*text && n + 1 < size) {
		size_t len = strcspn(text, "\n");
		if (strncmp(text, "LOCATION:", 9) != 0)
			n += (size_t)snprintf(out + n, size - n, "%s%.*s", n ? "; " : "", (int)len, text);
		text += len;
		text += strspn(text, "\n\t ");
	}
	out[n < size ? n : size - 1] = 0;
}

/* libpq has no more to say than a text; of its own errors only a want of memory is none of the connection. */
static int lost(struct pq *q, struct err *e)
{
	char why[512];

	q->want = 0;
	join_lines(PQerrorMessage(q->conn), why, sizeof why);
	return err_set(e, strstr(why, "memory") ? ERR_RESOURCE : ERR_CONN, "%s: %s", q->what,
		*why ? why : "the connection is lost");
}

static const char *diag(const PGresult *res, int field)
{
	const char *text = PQresultErrorField(res, field);

	return text ? text : "";
}

/* Takes over the failed res. */
static int failed(struct pq *q, PGresult *res, struct err *e)
{
	const char *state = diag(res, PG_DIAG_SQLSTATE), *detail = diag(res, PG_DIAG_MESSAGE_DETAIL);
	int code = classify(state);

	if (!*state) {
		PQclear(res);
		return lost(q, e);
	}
	if (strcmp(state, "23505") == 0 && strcmp(diag(res, PG_DIAG_SCHEMA_NAME), "pg_catalog") == 0)
		code = ERR_CONFLICT;
	if (!e->code)
		memcpy(e->sqlstate, state, sizeof e->sqlstate);
	err_set(e, code, "%s: %s%s%s%s (SQLSTATE %s)", q->what, diag(res, PG_DIAG_MESSAGE_PRIMARY),
		*detail ? " (" : "", detail, *detail ? ")" : "", state);
	PQclear(q->failed);
	q->failed = res;
	return e->code;
}

/* The context line of a failed COPY: "COPY table, line 7, column id: ...". The words are in the
 * server's language, the table and the number are not. */
static const char *copy_context(const struct pq *q, struct span table)
{
	const char *at = q->failed ? diag(q->failed, PG_DIAG_CONTEXT) : "", *line;

	/* a trigger's own context comes before, and may name the table too */
	while ((line = strstr(at, "\nCOPY ")))
		at = line + 1;
	at = memmem(at, strlen(at), table.p, table.n);
	return at ? at + table.n : NULL;
}

int64_t pq_error_line(const struct pq *q, struct span table)
{
	const char *at = copy_context(q, table);

	if (!at)
		return 0;
	at += strcspn(at, "0123456789\n");
	return *at && *at != '\n' ? strtoll(at, NULL, 10) : 0;
}

struct span pq_error_value(const struct pq *q, struct span table)
{
	const char *at = copy_context(q, table);

	at = at ? strstr(at, ": \"") : NULL;
	if (!at)
		return (struct span){ NULL, 0 };
	at += strlen(": \"");
	size_t n = strlen(at);
	return (struct span){ at, n && at[n - 1] == '"' ? n - 1 : n };
}

/* Some errors tell a column apart, which may be that of another table. */
const char *pq_error_column(struct pq *q, struct span table)
{
	const char *name = "", *at = copy_context(q, table), *end;
	size_t n = 0;

	at = at ? strstr(at, ", column ") : NULL;
	if (q->failed && span_is(table, diag(q->failed, PG_DIAG_TABLE_NAME))) {
		name = diag(q->failed, PG_DIAG_COLUMN_NAME);
		n = strlen(name);
	} else if (at && (end = strstr(at, ": "))) {
		name = at + strlen(", column ");
		n = (size_t)(end - name);
	}
	if (n == 0 || n >= sizeof q->column)
		return NULL;
	memcpy(q->column, name, n);
	q->column[n] = 0;
	return q->column;
}

/* ---- waiting */

/* Keepalives find a dead network only while nothing is on its way. tcp_user_timeout does always,
 * but it also ends a connection whose server lives and takes no rows for a while: a lock, a trigger. */
static bool network_is_dead(const struct pq *q)
{
	struct tcp_info info;
	socklen_t n = sizeof info;

	return getsockopt(PQsocket(q->conn), IPPROTO_TCP, TCP_INFO, &info, &n) == 0 &&
		(info.tcpi_retransmits > 2 || info.tcpi_probes > 1) && info.tcpi_last_ack_recv > NETWORK_TIMEOUT_MS;
}

/* After a wait in which nothing moved. A COPY whose rows are all sent waits for us, not for the
 * server; and for connecting there is connect_timeout. */
static int check_silence(struct pq *q, struct err *e)
{
	bool waited_for = q->opened_ms && q->want && (q->state != COPY_IN_OPEN || pq_blocked(q));

	if (q->opened_ms && network_is_dead(q))
		return err_set(e, ERR_CONN, "%s: the network to the server is dead: no answer to what was sent %d s ago", q->what,
			NETWORK_TIMEOUT_MS / 1000);
	if (!waited_for)
		q->silent_since_ms = 0;
	else if (!q->silent_since_ms)
		q->silent_since_ms = clock_ms();
	else if (server_timeout_ms && clock_ms() - q->silent_since_ms >= server_timeout_ms)
		return err_set(e, ERR_CONN, "%s: the server has sent and taken nothing for %lld s: the connection is given up"
			" (see server_timeout)", q->what, (long long)(server_timeout_ms / 1000));
	return 0;
}

int pq_wait(struct pq *const *set, size_t n, int64_t timeout_ms, struct err *e)
{
	struct pollfd fd[LANES_MAX + 2];
	int rc = 0;             /* e may hold an error already, after which the rest is drained */

	if (timeout_ms < 0 || timeout_ms > LOOK_MS)
		timeout_ms = LOOK_MS;
	for (size_t i = 0; i < n; i++)
		fd[i] = (struct pollfd){
			.fd = set[i] && set[i]->want ? PQsocket(set[i]->conn) : -1,
			.events = set[i] ? set[i]->want : 0,
		};
	int ready = daemon_ppoll(fd, (unsigned)n, timeout_ms);
	if (daemon_stop_now())
		return err_set(e, ERR_STOP, "told to stop");
	if (ready < 0 && errno != EINTR)
		return err_set(e, ERR_OTHER, "ppoll: %s", strerror(errno));
	for (size_t i = 0; i < n && rc == 0; i++) {
		if (!set[i])
			continue;
		if (ready > 0 && fd[i].revents) {
			set[i]->readable |= (fd[i].revents & (POLLIN | POLLERR | POLLHUP)) != 0;
			set[i]->want = 0;
			set[i]->silent_since_ms = 0;
		} else if (ready == 0 && timeout_ms) {
			rc = check_silence(set[i], e);
		}
	}
	return rc;
}

bool pq_blocked(const struct pq *q)
{
	return q->want & POLLOUT;
}

/* libpq's record layer may hold bytes that poll does not see. */
static bool tls_pending(struct pq *q)
{
	SSL *ssl = PQgetssl(q->conn);

	return ssl && SSL_pending(ssl) > 0;
}

static int consume(struct pq *q, struct err *e)
{
	do
		if (!PQconsumeInput(q->conn))
			return lost(q, e);
	while (tls_pending(q));
	return 0;
}

/* Sends what waits to be sent; PQ_READY when all is gone, PQ_WAIT when the socket is full. */
static int flush(struct pq *q, struct err *e)
{
	int left = PQflush(q->conn);

	if (left < 0)
		return lost(q, e);
	q->want = left ? POLLIN | POLLOUT : 0;
	return left ? PQ_WAIT : PQ_READY;
}

/* Waits until PQgetResult would not block. */
static int await_result(struct pq *q, struct err *e)
{
	for (;;) {
		int sent = flush(q, e);
		if (sent < 0 || (sent == PQ_WAIT && consume(q, e) < 0))
			return e->code;
		if (sent == PQ_READY) {
			if (!PQisBusy(q->conn))
				return 0;
			q->want = POLLIN;
		}
		if (pq_wait(&q, 1, -1, e) < 0)
			return e->code;
		if (q->readable && consume(q, e) < 0)
			return e->code;
		q->readable = false;
	}
}

/* ---- connecting */

static int64_t connect_deadline(PGconn *conn)
{
	PQconninfoOption *options = PQconninfo(conn);
	int64_t seconds = CONNECT_TIMEOUT_S, hosts = 1;

	for (PQconninfoOption *o = options; o && o->keyword; o++) {
		if (!o->val)
			continue;
		if (strcmp(o->keyword, "connect_timeout") == 0 && atoll(o->val) > 0)
			seconds = atoll(o->val);
		if (strcmp(o->keyword, "host") == 0)
			for (const char *c = o->val; *c; c++)
				hosts += *c == ',';
	}
	PQconninfoFree(options);
	return clock_ms() + 1000 * seconds * hosts;
}

/* The SQLSTATE in a connection's verbose error, "FATAL:  28P01: ...", or "". */
static void connect_sqlstate(const char *text, char state[6])
{
	state[0] = 0;
	for (const char *at = strstr(text, ":  "); at; at = strstr(at + 1, ":  ")) {
		const char *p = at + 3;
		if (strspn(p, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && p[5] == ':') {
			memcpy(state, p, 5);
			state[5] = 0;
		}
	}
}

/* libpq says of a certificate no more than that it was refused, and then frees what knows why. */
static long certificate_fault;

static void on_ssl_free(void *ssl, void *p, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
	(void)p, (void)data, (void)index, (void)argl, (void)argp;
	certificate_fault = SSL_get_verify_result(ssl);
}

static void watch_certificates(void)
{
	static int index = -1;

	if (index < 0)
		index = SSL_get_ex_new_index(0, NULL, NULL, NULL, on_ssl_free);
}

/* The one right whose lack shows before anything can be asked. */
static void add_connect_grant(struct pq *q, struct err *e)
{
	struct buf grant = { 0 };
	size_t n = strlen(e->msg);

	buf_str(&grant, "; GRANT CONNECT ON DATABASE ");
	buf_ident(&grant, span_of(PQdb(q->conn)));
	buf_str(&grant, " TO ");
	buf_ident(&grant, span_of(PQuser(q->conn)));
	snprintf(e->msg + n, sizeof e->msg - n, "%s;", buf_cstr(&grant));
	buf_free(&grant);
}

static int refused(struct pq *q, struct err *e)
{
	char why[800];

	join_lines(PQerrorMessage(q->conn), why, sizeof why);
	connect_sqlstate(PQerrorMessage(q->conn), e->sqlstate);
	int code = *e->sqlstate ? classify(e->sqlstate) : PQconnectionNeedsPassword(q->conn) ? ERR_RIGHTS :
		conninfo_refused(why) ? ERR_CONF : ERR_CONN;
	bool certificate = strstr(why, "certificate verify failed") && certificate_fault != X509_V_OK;
	err_set(e, code, "cannot connect to %s: %s%s%s", q->what, why, certificate ? ": " : "",
		certificate ? X509_verify_cert_error_string(certificate_fault) : "");
	if (strcmp(e->sqlstate, "42501") == 0)
		add_connect_grant(q, e);
	return e->code;
}

static int establish(struct pq *q, struct err *e)
{
	int64_t deadline = connect_deadline(q->conn);
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;

	while (status != PGRES_POLLING_OK) {
		int64_t left = deadline - clock_ms();
		if (left <= 0)
			return err_set(e, ERR_CONN, "cannot connect to %s: no answer in time (see connect_timeout)", q->what);
		q->want = status == PGRES_POLLING_READING ? POLLIN : POLLOUT;
		if (pq_wait(&q, 1, left, e) < 0)
			return e->code;
		if (q->want)
			continue;
		status = PQconnectPoll(q->conn);
		if (status == PGRES_POLLING_FAILED)
			return refused(q, e);
	}
	return 0;
}

static void on_notice(void *what, const PGresult *res)
{
	log_debug("%s: %s: %s", (const char *)what, diag(res, PG_DIAG_SEVERITY), diag(res, PG_DIAG_MESSAGE_PRIMARY));
}

static int set_up(struct pq *q, const char *encoding, struct err *e)
{
	struct buf sql = { 0 };
	int rc = 0;

	q->opened_ms = clock_ms();
	PQsetErrorVerbosity(q->conn, PQERRORS_DEFAULT);
	PQsetNoticeReceiver(q->conn, on_notice, (void *)(uintptr_t)q->what);
	if (PQsetnonblocking(q->conn, 1) < 0)
		return lost(q, e);
	if (!encoding && strcmp(pg_encoding_to_char(PQclientEncoding(q->conn)), pq_server_encoding(q)) != 0) {
		buf_str(&sql, "SET client_encoding TO ");
		buf_literal(&sql, span_of(pq_server_encoding(q)));
		rc = pq_query(q, buf_cstr(&sql), e);
		buf_free(&sql);
	}
	return rc;
}

/* Where sslrootcert=system finds its certificates: OpenSSL itself looks below /etc/ssl alone, where
 * few systems have them as one file. What the environment says counts. */
static void find_root_certificates(void)
{
	static const char *const bundles[] = {
		"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
		"/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
	};

	for (size_t i = 0; i < sizeof bundles / sizeof *bundles && !getenv("SSL_CERT_FILE") && !getenv("SSL_CERT_DIR"); i++)
		if (access(bundles[i], R_OK) == 0)
			setenv("SSL_CERT_FILE", bundles[i], 0);
}

struct pq *pq_open(const char *what, const char *conninfo, const char *encoding, struct err *e)
{
	/* what the conninfo says goes before what stands before it, and behind what stands after */
	const char *const keys[] = {
		"fallback_application_name", "keepalives_idle", "keepalives_interval", "keepalives_count",
		"dbname", encoding ? "client_encoding" : NULL, NULL,
	};
	const char *const values[] = { "tdispatch", "5", "2", "3", conninfo, encoding, NULL };
	struct pq *q = mem_alloc(sizeof *q);

	find_root_certificates();
	watch_certificates();
	*q = (struct pq){ .what = what, .conn = PQconnectStartParams(keys, values, 1) };
	if (!q->conn) {
		err_set(e, ERR_RESOURCE, "cannot connect to %s: out of memory", what);
	} else if (PQstatus(q->conn) == CONNECTION_BAD) {
		refused(q, e);
	} else {
		PQsetErrorVerbosity(q->conn, PQERRORS_VERBOSE);
		if (establish(q, e) == 0)
			set_up(q, encoding, e);
	}
	if (!e->code)
		return q;
	pq_close(q);
	return NULL;
}

void pq_close(struct pq *q)
{
	if (!q)
		return;
	PQfreemem(q->row);
	PQclear(q->rows);
	PQclear(q->failed);
	PQfinish(q->conn);
	free(q);
}

int64_t pq_opened_ms(const struct pq *q)
{
	return q->opened_ms;
}

const char *pq_server_encoding(const struct pq *q)
{
	const char *name = PQparameterStatus(q->conn, "server_encoding");

	return name ? name : "UTF8";
}

const char *pq_time_zone(const struct pq *q)
{
	const char *name = PQparameterStatus(q->conn, "TimeZone");

	return name ? name : "UTC";
}

int pq_server_version(const struct pq *q)
{
	return PQserverVersion(q->conn);
}

bool pq_encrypted(const struct pq *q)
{
	return PQsslInUse(q->conn);
}

bool pq_exposed(const struct pq *q)
{
	const char *address = PQhostaddr(q->conn);      /* empty for a socket of this machine */

	return !PQsslInUse(q->conn) && address && *address && strncmp(address, "127.", 4) != 0 &&
		strcmp(address, "::1") != 0;
}

/* ---- statements */

void pq_add_settings(struct buf *sql, const struct pq *q, int lock_timeout_ms)
{
	int version = PQserverVersion(q->conn);

	buf_fmt(sql, "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;"
		"SET LOCAL lock_timeout = %d;%s%s"
		"SET LOCAL tcp_keepalives_idle = 5; SET LOCAL tcp_keepalives_interval = 2; SET LOCAL tcp_keepalives_count = 3;",
		lock_timeout_ms, version >= 170000 ? "SET LOCAL transaction_timeout = 0;" : "",
		version >= 140000 ? "SELECT pg_catalog.set_config('client_connection_check_interval', '1000', true)"
		" FROM pg_catalog.version() v WHERE v OPERATOR(pg_catalog.~~) '%linux%';" : "");        /* an error elsewhere */
}

static int send_sql(struct pq *q, const char *sql, struct err *e)
{
	log_trace("%s: %s", q->what, sql);
	return PQsendQuery(q->conn, sql) ? 0 : lost(q, e);
}

/* Takes the results that are left, so that the next statement can be sent. */
static int drain(struct pq *q, struct err *e)
{
	PGresult *res;

	while (await_result(q, e) == 0 && (res = PQgetResult(q->conn))) {
		if (PQresultStatus(res) == PGRES_FATAL_ERROR)
			failed(q, res, e);
		else
			PQclear(res);
	}
	return e->code;
}

int pq_query(struct pq *q, const char *sql, struct err *e)
{
	PGresult *res;

	PQclear(q->rows);
	q->rows = NULL;
	if (send_sql(q, sql, e) < 0)
		return e->code;
	while (await_result(q, e) == 0 && (res = PQgetResult(q->conn))) {
		switch (PQresultStatus(res)) {
		case PGRES_TUPLES_OK:
			PQclear(q->rows);
			q->rows = res;
			break;
		case PGRES_FATAL_ERROR:
			failed(q, res, e);
			return drain(q, e);
		case PGRES_COPY_IN:
		case PGRES_COPY_OUT:    /* libpq gives this result again and again: the connection is of no more use */
			PQclear(res);
			return err_set(e, ERR_SHAPE, "%s: a COPY from or to the client has no place here", q->what);
		default:
			snprintf(q->tag, sizeof q->tag, "%s", PQcmdStatus(res));
			PQclear(res);
		}
	}
	return e->code;
}

const char *pq_tag(const struct pq *q)
{
	return q->tag;
}

int pq_rows(const struct pq *q)
{
	return q->rows ? PQntuples(q->rows) : 0;
}

const char *pq_value(const struct pq *q, int row, int col)
{
	return PQgetisnull(q->rows, row, col) ? NULL : PQgetvalue(q->rows, row, col);
}

int64_t pq_int(const struct pq *q, int row, int col, int64_t if_null)
{
	const char *text = pq_value(q, row, col);

	return text ? strtoll(text, NULL, 10) : if_null;
}

/* ---- COPY out */

int pq_copy_out(struct pq *q, const char *sql, struct err *e)
{
	if (send_sql(q, sql, e) < 0)
		return e->code;
	for (bool open = false; !open;) {
		if (await_result(q, e) < 0)
			return e->code;
		PGresult *res = PQgetResult(q->conn);
		ExecStatusType status = PQresultStatus(res);
		open = status == PGRES_COPY_OUT;
		if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && !open) {
			failed(q, res, e);
			return drain(q, e);
		}
		PQclear(res);
	}
	q->state = COPY_OUT;
	q->want = 0;
	return 0;
}

static int copy_out_end(struct pq *q, struct err *e)
{
	q->state = NO_COPY;
	q->want = 0;
	return drain(q, e) < 0 ? e->code : PQ_END;
}

int pq_copy_row(struct pq *q, struct span *row, struct err *e)
{
	if (q->state != COPY_OUT)
		return PQ_END;
	for (int tries = 0; tries < 2; tries++) {
		PQfreemem(q->row);
		q->row = NULL;
		int n = PQgetCopyData(q->conn, &q->row, 1);
		if (n > 0) {
			*row = (struct span){ q->row, (size_t)n };
			return PQ_READY;
		}
		if (n == -1)
			return copy_out_end(q, e);
		if (n < 0)
			return lost(q, e);
		if (!q->readable)
			break;
		q->readable = false;
		if (consume(q, e) < 0)
			return e->code;
	}
	q->want = POLLIN;
	return PQ_WAIT;
}

/* ---- COPY in */

int pq_copy_in(struct pq *q, const char *sql, int copies, struct err *e)
{
	if (send_sql(q, sql, e) < 0)
		return e->code;
	q->state = COPY_IN_ASKED;
	q->copies = copies;
	return 0;
}

/* The answer to the COPY or to its end, when it is here. */
static int copy_in_answer(struct pq *q, struct err *e)
{
	PGresult *res = NULL;

	if (q->readable && consume(q, e) < 0)
		return e->code;
	q->readable = false;
	do {                            /* a statement before the first COPY has nothing to say */
		PQclear(res);
		if (PQisBusy(q->conn)) {
			q->want = POLLIN;
			return PQ_WAIT;
		}
		res = PQgetResult(q->conn);
	} while (q->state == COPY_IN_ASKED && PQresultStatus(res) == PGRES_COMMAND_OK);
	if (PQresultStatus(res) == PGRES_COPY_IN) {
		PQclear(res);
		q->state = COPY_IN_OPEN;
		return PQ_READY;
	}
	if (q->state != COPY_IN_ENDED || PQresultStatus(res) != PGRES_COMMAND_OK) {
		q->state = NO_COPY;
		failed(q, res, e);
		return drain(q, e);
	}
	q->copied = strtoll(PQcmdTuples(res), NULL, 10);
	PQclear(res);
	q->state = --q->copies > 0 ? COPY_IN_ASKED : NO_COPY;
	return q->copies > 0 || drain(q, e) == 0 ? PQ_END : e->code;
}

int pq_copy_step(struct pq *q, bool *stopped, struct err *e)
{
	*stopped = false;
	int sent = flush(q, e);
	if (sent < 0)
		return sent;
	if (q->state != COPY_IN_OPEN) {
		if (sent == PQ_WAIT && q->readable && consume(q, e) < 0)
			return e->code;
		return sent == PQ_WAIT ? PQ_WAIT : copy_in_answer(q, e);
	}
	*stopped = q->readable;
	q->want |= POLLIN;
	return sent;
}

int64_t pq_copied(const struct pq *q)
{
	return q->copied;
}

int pq_copy_put(struct pq *q, const char *p, size_t n, struct err *e)
{
	return PQputCopyData(q->conn, p, (int)n) == 1 ? 0 : lost(q, e);
}

int pq_copy_end(struct pq *q, struct err *e)
{
	if (PQputCopyEnd(q->conn, NULL) != 1)
		return lost(q, e);
	q->state = COPY_IN_ENDED;
	return 0;
}
