/*
 * Connection strings: whether libpq accepts them, and which parts are secret. Opening and closing
 * connections: time limits, certificates, and the reason when a server refuses.
 */
#include <libpq-fe.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pq.h"

/* ---- connection strings */

static bool is_secret(const char *keyword)
{
	return strcmp(keyword, "password") == 0 || strcmp(keyword, "sslpassword") == 0 ||
		strcmp(keyword, "oauth_client_secret") == 0;
}

/* Is there an unescaped @ or / in a URI's password? libpq takes the rest of the password for the
 * name of a host or a database, which its messages quote. */
static bool misread_uri(const char *conninfo)
{
	const char *p = strncmp(conninfo, "postgres", 8) == 0 ? strstr(conninfo, "://") : NULL;

	if (!p)
		return false;
	p += strlen("://");
	p += strcspn(p, "@/");
	return *p && memchr(p + 1, '@', strcspn(p + 1, "?"));
}

/* Does one of the hosts, separated by commas, look like USER:PASSWORD@HOST? A name with a leading @
 * is that of a socket, one with a leading / that of a folder. */
static bool has_login(const char *hosts)
{
	for (const char *p = hosts; *p; p += *p == ',') {
		size_t n = strcspn(p, ",");
		if (*p != '/' && n > 1 && memchr(p + 1, '@', n - 1))
			return true;
		p += n;
	}
	return false;
}

/* What is wrong with a value that libpq accepts but that seems to contain a password, which libpq
 * and the server would show in their messages. NULL: nothing. */
static const char *misplaced(const PQconninfoOption *o)
{
	const char *colon = strchr(o->val, ':');

	if (strcmp(o->keyword, "options") == 0)
		return NULL;            /* mask_options hides the secrets in it */
	if (strcasestr(o->val, "password=") || strcasestr(o->val, "passwd=") ||
	    strcasestr(o->val, "pwd="))
		return "a blank or a quote is missing before a password";
	if (strcmp(o->keyword, "dbname") == 0 && colon &&
	    (strstr(o->val, "://") || strchr(colon, '@')))
		return "a URI stands alone, without dbname=";
	if ((strcmp(o->keyword, "host") == 0 || strcmp(o->keyword, "hostaddr") == 0) &&
	    has_login(o->val))
		return "host is a name alone: user and password have keys of their own";
	if (strcmp(o->keyword, "user") == 0 && colon)
		return "user is a name alone: the password has a key of its own";
	if (strcmp(o->keyword, "port") == 0 && o->val[strspn(o->val, "0123456789,")])
		return "invalid port number";
	return NULL;
}

static void check_misplaced(const char *what, const PQconninfoOption *options, struct err *e)
{
	for (const PQconninfoOption *o = options; o->keyword; o++) {
		const char *why = o->val && !is_secret(o->keyword) ? misplaced(o) : NULL;
		if (why)
			err_set(e, ERR_CONF, "%s: %s", what, why);
	}
}

/* Does libpq's error blame a value in the connection string? */
static bool blames_value(const char *text)
{
	return strncmp(text, "invalid ", 8) == 0 || strncmp(text, "weak sslmode", 12) == 0 ||
		strstr(text, " for connection option ");
}

/* What our documentation recommends and older versions of libpq do not know, or misread: "system"
 * as the name of a file. value: NULL for any. */
static const struct { const char *keyword, *value; int since; } recent[] = {
	{ "sslrootcert", "system", 160000 },
	{ "require_auth", NULL, 160000 },
	{ "load_balance_hosts", NULL, 160000 },
	{ "sslcertmode", NULL, 160000 },
	{ "sslnegotiation", NULL, 170000 },
};

static void refuse_recent(const char *what, size_t i, struct err *e)
{
	int version = PQlibVersion();

	err_set(e, ERR_CONF, "%s: this program is built with libpq %d.%d, which does not know"
		" %s%s%s: libpq %d is needed", what, version / 10000, version % 10000,
		recent[i].keyword, recent[i].value ? "=" : "",
		recent[i].value ? recent[i].value : "", recent[i].since / 10000);
}

/* why: libpq's error; it quotes a keyword that libpq does not know. */
static void check_keyword(const char *what, const char *why, struct err *e)
{
	static const char refused[] = "invalid connection option \"";
	const char *at = why ? strstr(why, refused) : NULL;

	for (size_t i = 0; at && i < sizeof recent / sizeof *recent; i++) {
		size_t n = strlen(recent[i].keyword);
		const char *name = at + sizeof refused - 1;
		if (strncmp(name, recent[i].keyword, n) == 0 && name[n] == '"')
			refuse_recent(what, i, e);
	}
}

static void check_recent(const char *what, const PQconninfoOption *options, struct err *e)
{
	for (const PQconninfoOption *o = options; o->keyword; o++)
		for (size_t i = 0; i < sizeof recent / sizeof *recent; i++)
			if (o->val && recent[i].value && PQlibVersion() < recent[i].since &&
			    strcmp(o->keyword, recent[i].keyword) == 0 &&
			    strcmp(o->val, recent[i].value) == 0)
				refuse_recent(what, i, e);
}

const char *connect_lacks(void)
{
	return PQlibVersion() < 160000 ?
		"sslrootcert=system, require_auth and load_balance_hosts" : NULL;
}

/* libpq checks values only when it connects. So we let it connect to a socket that cannot exist:
 * the failure does not matter, but a value that it refuses is wrong for any server. */
static void check_values(const char *what, const PQconninfoOption *options, struct err *e)
{
	static const char *const where[] = { "host", "hostaddr", "port" };
	const char *keys[64] = { "host" }, *values[64] = { "/dev/null" };
	size_t n = 1;

	for (const PQconninfoOption *o = options; o->keyword && n < 63; o++) {
		bool place = false;
		for (size_t i = 0; i < sizeof where / sizeof *where; i++)
			place |= strcmp(o->keyword, where[i]) == 0;
		if (!o->val || (place && (strcmp(o->keyword, "port") != 0 || strchr(o->val, ','))))
			continue;
		keys[n] = o->keyword;
		values[n++] = o->val;
	}
	PGconn *conn = PQconnectStartParams(keys, values, 0);
	const char *why = PQerrorMessage(conn);
	if (strstr(why, "definition of service"))
		err_set(e, ERR_CONF, "%s: the service that the connection string names is not"
			" defined", what);
	else if (blames_value(why))
		err_set(e, ERR_CONF, "%s: %.*s", what, (int)strcspn(why, "\n"), why);
	PQfinish(conn);
}

/* Names a keyword that libpq does not know, if no password can be a part of it: one with blanks
 * reads as keywords. */
static void name_keyword(const char *what, const char *conninfo, const char *why, struct err *e)
{
	static const char refused[] = "invalid connection option \"";
	const char *at = why ? strstr(why, refused) : NULL;
	const char *name = at ? at + sizeof refused - 1 : "";
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz_");
	const char *there = n ? memmem(conninfo, strlen(conninfo), name, n) : NULL;

	if (there && name[n] == '"' && !strstr(conninfo, "://") &&
	    !memmem(conninfo, (size_t)(there - conninfo), "pass", 4))
		err_set(e, ERR_CONF, "%s: '%.*s' is no connection option", what, (int)n, name);
}

int connect_check(const char *what, const char *conninfo, struct err *e)
{
	char *why = NULL;
	PQconninfoOption *options = PQconninfoParse(conninfo, &why);

	if (misread_uri(conninfo))
		err_set(e, ERR_CONF, "%s: @ and / in the user or password of a URI are written %%40"
			" and %%2f (in the config file %%%%40 and %%%%2f)", what);
	if (!options)
		check_keyword(what, why, e);
	if (!options)
		name_keyword(what, conninfo, why, e);
	if (!options)   /* libpq's reason may quote the string, and a password with it */
		err_set(e, ERR_CONF, "%s is no valid connection string (key=value pairs or a"
			" postgresql:// URI)", what);
	else
		check_recent(what, options, e);
	if (!e->code)
		check_misplaced(what, options, e);
	if (!e->code)
		check_values(what, options, e);
	PQconninfoFree(options);
	PQfreemem(why);
	return e->code;
}

/* In options='-c name=value'. A name with a dot is no setting of the server itself, so its value
 * may be anything. */
static bool is_secret_setting(const char *text, size_t name)
{
	return memchr(text, '.', name) || memmem(text, name, "pass", 4) ||
		memmem(text, name, "pwd", 3);
}

static void mask_options(struct buf *out, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, " "), name = strcspn(text, "= ");
		bool masked = name < n && is_secret_setting(text, name);
		buf_add(out, text, masked ? name + 1 : n);
		buf_str(out, masked ? "********" : "");
		text += n;
		n = strspn(text, " ");
		buf_add(out, text, n);
		text += n;
	}
}

/* Appends keyword='value' as it may be shown. Returns whether a secret in it is hidden. */
static bool add_shown(struct buf *out, const PQconninfoOption *o)
{
	struct buf shown = { 0 };

	if (is_secret(o->keyword))
		buf_str(&shown, "********");
	else if (strcmp(o->keyword, "options") == 0)
		mask_options(&shown, o->val);
	else
		buf_str(&shown, o->val);
	buf_fmt(out, "%s%s='", out->len ? " " : "", o->keyword);
	for (const char *c = buf_cstr(&shown); *c; c++)
		buf_fmt(out, *c == '\'' || *c == '\\' ? "\\%c" : "%c", *c);
	buf_str(out, "'");
	bool masked = strcmp(buf_cstr(&shown), o->val) != 0;
	buf_free(&shown);
	return masked;
}

char *connect_mask(const char *conninfo)
{
	PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
	struct buf out = { 0 };
	bool secrets = false;

	for (PQconninfoOption *o = options; o && o->keyword; o++) {
		if (!o->val)
			continue;
		secrets |= add_shown(&out, o);
	}
	if (options && !secrets) {
		out.len = 0;
		buf_str(&out, conninfo);
	}
	PQconninfoFree(options);
	buf_cstr(&out);
	return out.p;
}

/* ---- connecting */

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
		blames_value(why) ? ERR_CONF : ERR_CONN;
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
	PQclear(q->rows);
	PQclear(q->failed);
	PQfinish(q->conn);
	free(q);
}

const struct pq_server *pq_server(const struct pq *q)
{
	return &q->server;
}
