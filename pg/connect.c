/*
 * Opening and closing connections: time limits, certificates, and the reason when a server refuses.
 */
#include <libpq-fe.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pq.h"

#define CLOSED_MAX 64                   /* connections remembered after their end */
#define CONNECT_TIMEOUT_S 15            /* for each host, if the conninfo has no connect_timeout */

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

/* libpq reports only that verifying a certificate failed, and then frees the SSL object, which
 * knows why. So the result is saved when that is freed. */
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

/* CONNECT is the only privilege that can be missing before any query. */
static void add_connect_grant(struct pq *q, struct err *e)
{
	struct buf grant = { 0 };

	buf_str(&grant, "; GRANT CONNECT ON DATABASE ");
	buf_ident(&grant, span_of(PQdb(q->conn)));
	buf_str(&grant, " TO ");
	buf_ident(&grant, span_of(PQuser(q->conn)));
	err_add(e, "%s;", buf_cstr(&grant));
	buf_free(&grant);
}

static const char no_connection[] = "cannot connect to ";

bool connect_failed(const struct err *e)
{
	return strncmp(e->msg, no_connection, sizeof no_connection - 1) == 0;
}

static int refused(struct pq *q, struct err *e)
{
	char why[800];

	pq_join_lines(PQerrorMessage(q->conn), why, sizeof why);
	connect_sqlstate(PQerrorMessage(q->conn), e->sqlstate);
	struct sqlstate_error error = {
		.state = e->sqlstate, .message = why, .schema = "", .routine = "",
	};
	int code = *e->sqlstate ? sqlstate_judge(&error, SQLSTATE_CONNECT) :
		PQconnectionNeedsPassword(q->conn) ? ERR_RIGHTS :
		conninfo_is_blamed(why) ? ERR_CONF : ERR_CONN;
	bool certificate = strstr(why, "certificate verify failed") &&
		certificate_fault != X509_V_OK;
	err_set(e, code, "%s%s: %s%s%s", no_connection, q->what, why, certificate ? ": " : "",
		certificate ? X509_verify_cert_error_string(certificate_fault) : "");
	if (sqlstate_is(e->sqlstate, SQLSTATE_DENIED))
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
			return err_set(e, ERR_CONN, "%s%s: no answer in time (see connect_timeout)",
				no_connection, q->what);
		q->want = status == PGRES_POLLING_READING ? POLLIN : POLLOUT;
		if (pq_wait(&q, 1, left, e) < 0)
			return e->code;
		if (q->want)
			continue;
		process_may_end(true);          /* it looks up the host's address, which blocks */
		status = PQconnectPoll(q->conn);
		process_may_end(false);
		if (status == PGRES_POLLING_FAILED)
			return refused(q, e);
	}
	return 0;
}

static void on_notice(void *what, const PGresult *res)
{
	log_debug("%s: %s: %s", (const char *)what, pq_diag(res, PG_DIAG_SEVERITY),
		pq_diag(res, PG_DIAG_MESSAGE_PRIMARY));
}

static bool is_exposed(PGconn *conn)
{
	const char *address = PQhostaddr(conn);         /* empty for a socket of this machine */

	return !PQsslInUse(conn) && address && *address && strncmp(address, "127.", 4) != 0 &&
		strcmp(address, "::1") != 0;
}

static void describe_server(struct pq *q)
{
	const char *encoding = PQparameterStatus(q->conn, "server_encoding");

	q->server = (struct pq_server){
		.version = PQserverVersion(q->conn), .encrypted = PQsslInUse(q->conn),
		.exposed = is_exposed(q->conn), .opened_ms = clock_ms(),
	};
	snprintf(q->server.encoding, sizeof q->server.encoding, "%s", encoding ? encoding : "UTF8");
}

static int use_server_encoding(struct pq *q, struct err *e)
{
	struct buf sql = { 0 };

	if (strcmp(pg_encoding_to_char(PQclientEncoding(q->conn)), q->server.encoding) == 0)
		return 0;
	buf_str(&sql, "SET client_encoding TO ");
	buf_literal(&sql, span_of(q->server.encoding));
	pq_query(q, buf_cstr(&sql), e);
	buf_free(&sql);
	return e->code;
}

static int set_up(struct pq *q, const char *encoding, struct err *e)
{
	describe_server(q);
	PQsetErrorVerbosity(q->conn, PQERRORS_DEFAULT);
	PQsetNoticeReceiver(q->conn, on_notice, (void *)(uintptr_t)q->what);
	if (PQsetnonblocking(q->conn, 1) < 0)
		return pq_lost(q, e);
	return encoding ? 0 : use_server_encoding(q, e);
}

/* Sets where sslrootcert=system finds its certificates, unless the environment says so: OpenSSL
 * itself looks only below /etc/ssl, where few systems have them as one file. */
static void find_root_certificates(void)
{
	static const char *const bundles[] = {
		"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
		"/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
	};

	if (getenv("SSL_CERT_DIR"))
		return;
	for (size_t i = 0; i < sizeof bundles / sizeof *bundles && !getenv("SSL_CERT_FILE"); i++)
		if (access(bundles[i], R_OK) == 0)
			setenv("SSL_CERT_FILE", bundles[i], 0);
}

struct pq *pq_open(const char *what, const char *conninfo, const char *encoding, struct err *e)
{
	/* a later key beats an earlier one: the conninfo beats what stands before dbname */
	const char *const keys[] = {
		"fallback_application_name", "keepalives_idle", "keepalives_interval",
		"keepalives_count", "dbname", encoding ? "client_encoding" : NULL, NULL,
	};
	const char *const values[] = { "tdispatch", "5", "2", "3", conninfo, encoding, NULL };
	struct pq *q = mem_alloc(sizeof *q);

	find_root_certificates();
	watch_certificates();
	process_may_end(true);
	*q = (struct pq){ .what = what, .conn = PQconnectStartParams(keys, values, 1) };
	process_may_end(false);
	if (!q->conn) {
		err_set(e, ERR_RESOURCE, "%s%s: out of memory", no_connection, what);
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

static int closed_pid[CLOSED_MAX];      /* of server processes */
static size_t nclosed;

bool pq_was_ours(int64_t pid)
{
	for (size_t i = 0; i < CLOSED_MAX && i < nclosed; i++)
		if (closed_pid[i] == pid)
			return true;
	return false;
}

void pq_close(struct pq *q)
{
	if (!q)
		return;
	closed_pid[nclosed++ % CLOSED_MAX] = PQbackendPID(q->conn);
	buf_free(&q->row);
	free(q->settings);
	form_free(&q->form);
	kept_free(&q->kept);
	PQclear(q->rows);
	PQclear(q->failed);
	PQfinish(q->conn);
	free(q);
}

const struct pq_server *pq_server(const struct pq *q)
{
	return &q->server;
}
