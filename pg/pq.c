/*
 * An open connection: statements, the meaning of errors, waiting for several connections at once.
 * Sockets are non-blocking, and every wait is a ppoll with signals unblocked.
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

#include "pq.h"

#define NETWORK_TIMEOUT_MS 10000        /* without an acknowledgement the network is dead */
#define LOOK_MS 1000                    /* longest wait between two looks at the connections */

static int64_t server_timeout_ms;

void pq_setup(int64_t timeout_ms)
{
	server_timeout_ms = timeout_ms;
}

/* ---- errors */

void pq_join_lines(const char *text, char *out, size_t size)
{
	size_t n = 0;

	while (*text && n + 1 < size) {
		size_t len = strcspn(text, "\n");
		if (strncmp(text, "LOCATION:", 9) != 0)
			n += (size_t)snprintf(out + n, size - n, "%s%.*s", n ? "; " : "",
				(int)len, text);
		text += len;
		text += strspn(text, "\n\t ");
	}
	out[n < size ? n : size - 1] = 0;
}

/* libpq reports text alone; only out-of-memory is not a connection failure. */
int pq_lost(struct pq *q, struct err *e)
{
	char why[512];

	q->want = 0;
	pq_join_lines(PQerrorMessage(q->conn), why, sizeof why);
	return err_set(e, strstr(why, "memory") ? ERR_RESOURCE : ERR_CONN, "%s: %s", q->what,
		*why ? why : "the connection is lost");
}

const char *pq_diag(const PGresult *res, int field)
{
	const char *text = PQresultErrorField(res, field);

	return text ? text : "";
}

static int judge(const struct pq *q, enum sqlstate_answers to)
{
	struct sqlstate_error error = {
		.state = pq_diag(q->failed, PG_DIAG_SQLSTATE),
		.message = pq_diag(q->failed, PG_DIAG_MESSAGE_PRIMARY),
		.schema = pq_diag(q->failed, PG_DIAG_SCHEMA_NAME),
		.routine = pq_diag(q->failed, PG_DIAG_SOURCE_FUNCTION),
	};

	return sqlstate_judge(&error, to);
}

/* The server's hint says what somebody may do about it. A lost connection is ours to mend. */
static void add_hint(const PGresult *res, struct err *e)
{
	const char *hint = pq_diag(res, PG_DIAG_MESSAGE_HINT);
	char line[400];

	if (!*hint || e->code == ERR_CONN || e->code == ERR_CONFLICT)
		return;
	pq_join_lines(hint, line, sizeof line);
	err_add(e, "; the server's hint: %s", line);
}

int pq_failed(struct pq *q, PGresult *res, enum sqlstate_answers to, struct err *e)
{
	const char *state = pq_diag(res, PG_DIAG_SQLSTATE);
	const char *detail = pq_diag(res, PG_DIAG_MESSAGE_DETAIL);

	if (!*state) {
		PQclear(res);
		return pq_lost(q, e);
	}
	if (e->code) {                  /* the first error tells most */
		PQclear(res);
		return e->code;
	}
	PQclear(q->failed);
	q->failed = res;
	memcpy(e->sqlstate, state, sizeof e->sqlstate);
	err_set(e, judge(q, to), "%s: %s%s%s%s (SQLSTATE %s)", q->what,
		pq_diag(res, PG_DIAG_MESSAGE_PRIMARY), *detail ? " (" : "", detail,
		*detail ? ")" : "", state);
	add_hint(res, e);
	return e->code;
}

void pq_judge(const struct pq *q, enum sqlstate_answers to, struct err *e)
{
	if (q->failed && strcmp(e->sqlstate, pq_diag(q->failed, PG_DIAG_SQLSTATE)) == 0)
		e->code = judge(q, to);
}

/* ---- waiting */

/* Has nothing that we sent been acknowledged for too long? Keepalives notice a dead network only
 * while no data is in flight. tcp_user_timeout always does, but it also ends a connection whose
 * server is alive and takes no rows for a while because of a lock or a trigger. */
static bool network_is_dead(const struct pq *q)
{
	struct tcp_info info;
	socklen_t n = sizeof info;

	return getsockopt(PQsocket(q->conn), IPPROTO_TCP, TCP_INFO, &info, &n) == 0 &&
		(info.tcpi_retransmits > 2 || info.tcpi_probes > 1) &&
		info.tcpi_last_ack_recv > NETWORK_TIMEOUT_MS;
}

/* After a wait in which nothing moved. A COPY whose rows are all sent waits for us, not for the
 * server; while connecting, connect_timeout is the limit. */
static int check_silence(struct pq *q, struct err *e)
{
	bool open = q->server.opened_ms;
	bool waited_for = open && q->want && (q->state != COPY_IN_OPEN || pq_blocked(q));

	if (open && network_is_dead(q))
		return err_set(e, ERR_CONN, "%s: the network to the server is dead: no answer to"
			" what was sent %d s ago", q->what, NETWORK_TIMEOUT_MS / 1000);
	if (!waited_for)
		q->silent_since_ms = 0;
	else if (!q->silent_since_ms)
		q->silent_since_ms = clock_ms();
	else if (server_timeout_ms && clock_ms() - q->silent_since_ms >= server_timeout_ms)
		return err_set(e, ERR_CONN, "%s: the server has sent and taken nothing for %lld s:"
			" the connection is given up (see server_timeout)", q->what,
			(long long)(server_timeout_ms / 1000));
	return 0;
}

/* After process_ppoll: records what the connection may do now, or checks how long it has waited. */
static int take_events(struct pq *q, int ready, short revents, int64_t timeout_ms, struct err *e)
{
	if (ready > 0 && revents) {
		q->readable |= (revents & (POLLIN | POLLERR | POLLHUP)) != 0;
		q->want = 0;
		q->silent_since_ms = 0;
	} else if (ready == 0 && timeout_ms) {
		return check_silence(q, e);
	}
	return 0;
}

int pq_wait(struct pq *const *set, size_t n, int64_t timeout_ms, struct err *e)
{
	struct pollfd fd[LANES_MAX + 2];
	int rc = 0;                     /* not e's: we may drain after an earlier error */

	if (timeout_ms < 0 || timeout_ms > LOOK_MS)
		timeout_ms = LOOK_MS;
	for (size_t i = 0; i < n; i++)
		fd[i] = (struct pollfd){
			.fd = set[i] && set[i]->want ? PQsocket(set[i]->conn) : -1,
			.events = set[i] ? set[i]->want : 0,
		};
	int ready = process_ppoll(fd, (unsigned)n, timeout_ms);
	if (process_stop_now())
		return err_set(e, ERR_STOP, "told to stop");
	if (ready < 0 && errno != EINTR)
		return err_set(e, ERR_OTHER, "ppoll: %s", strerror(errno));
	for (size_t i = 0; i < n && rc == 0; i++)
		if (set[i])
			rc = take_events(set[i], ready, fd[i].revents, timeout_ms, e);
	return rc;
}

bool pq_in_transaction(const struct pq *q)
{
	return PQtransactionStatus(q->conn) == PQTRANS_INTRANS;
}

bool pq_blocked(const struct pq *q)
{
	return q->want & POLLOUT;
}

/* Does OpenSSL hold decrypted bytes, which poll cannot see? */
static bool tls_pending(struct pq *q)
{
	SSL *ssl = PQgetssl(q->conn);

	return ssl && SSL_pending(ssl) > 0;
}

int pq_consume(struct pq *q, struct err *e)
{
	do
		if (!PQconsumeInput(q->conn))
			return pq_lost(q, e);
	while (tls_pending(q));
	return 0;
}

int pq_flush(struct pq *q, struct err *e)
{
	int left = PQflush(q->conn);

	if (left < 0)
		return pq_lost(q, e);
	q->want = left ? POLLIN | POLLOUT : 0;
	return left ? PQ_WAIT : PQ_READY;
}

int pq_await(struct pq *q, struct err *e)
{
	for (;;) {
		int sent = pq_flush(q, e);
		if (sent < 0 || (sent == PQ_WAIT && pq_consume(q, e) < 0))
			return e->code;
		if (sent == PQ_READY) {
			if (!PQisBusy(q->conn))
				return 0;
			q->want = POLLIN;
		}
		if (pq_wait(&q, 1, -1, e) < 0)
			return e->code;
		if (q->readable && pq_consume(q, e) < 0)
			return e->code;
		q->readable = false;
	}
}

/* ---- statements */

void pq_add_settings(struct buf *sql, const struct pq *q, int lock_timeout_ms)
{
	buf_str(sql, "SET LOCAL statement_timeout = 0;"
		" SET LOCAL idle_in_transaction_session_timeout = 0;");
	buf_fmt(sql, "SET LOCAL lock_timeout = %d;", lock_timeout_ms);
	if (q->server.version >= 170000)
		buf_str(sql, "SET LOCAL transaction_timeout = 0;");
	if (q->server.version >= 140000)        /* only Linux knows it: an error elsewhere */
		buf_str(sql, "SELECT pg_catalog.set_config("
			"'client_connection_check_interval', '1000', true)"
			" FROM pg_catalog.version() v"
			" WHERE v" PQ_OWN("~~") "'%linux%';");
	buf_str(sql, "SET LOCAL tcp_keepalives_idle = 5;"
		" SET LOCAL tcp_keepalives_interval = 2;"
		" SET LOCAL tcp_keepalives_count = 3;");
	buf_str(sql, q->settings ? q->settings : "");
}

int pq_send(struct pq *q, const char *sql, struct err *e)
{
	assert(q->state == NO_COPY);
	log_trace("%s: %s", q->what, sql);
	return PQsendQuery(q->conn, sql) ? 0 : pq_lost(q, e);
}

int pq_drain(struct pq *q, struct err *e)
{
	PGresult *res;

	while (pq_await(q, e) == 0 && (res = PQgetResult(q->conn))) {
		if (PQresultStatus(res) == PGRES_FATAL_ERROR)
			pq_failed(q, res, SQLSTATE_STATEMENT, e);
		else
			PQclear(res);
	}
	return e->code;
}

int pq_step(struct pq *q, struct err *e)
{
	int sent = pq_flush(q, e);

	if (sent < 0 || (q->readable && pq_consume(q, e) < 0))
		return e->code;
	q->readable = false;
	if (sent == PQ_WAIT)
		return PQ_WAIT;
	if (PQisBusy(q->conn)) {
		q->want = POLLIN;
		return PQ_WAIT;
	}
	PGresult *res = PQgetResult(q->conn);
	if (!res)
		return PQ_END;
	if (PQresultStatus(res) == PGRES_FATAL_ERROR) {
		pq_failed(q, res, SQLSTATE_STATEMENT, e);
		return pq_drain(q, e);
	}
	snprintf(q->tag, sizeof q->tag, "%s", PQcmdStatus(res));
	if (PQresultStatus(res) == PGRES_TUPLES_OK) {
		PQclear(q->rows);
		q->rows = res;
	} else {
		PQclear(res);
	}
	return PQ_READY;
}

int pq_query(struct pq *q, const char *sql, struct err *e)
{
	return pq_send(q, sql, e) < 0 ? e->code : pq_answer(q, e);
}

int pq_answer(struct pq *q, struct err *e)
{
	PGresult *res;

	PQclear(q->rows);
	q->rows = NULL;
	while (pq_await(q, e) == 0 && (res = PQgetResult(q->conn))) {
		switch (PQresultStatus(res)) {
		case PGRES_TUPLES_OK:
			PQclear(q->rows);
			q->rows = res;
			break;
		case PGRES_FATAL_ERROR:
			pq_failed(q, res, SQLSTATE_STATEMENT, e);
			return pq_drain(q, e);
		case PGRES_COPY_IN:
		case PGRES_COPY_OUT:    /* libpq would return this forever: give up */
			PQclear(res);
			return err_set(e, ERR_SHAPE, "%s: a COPY from or to the client has no"
				" place here", q->what);
		default:
			snprintf(q->tag, sizeof q->tag, "%s", PQcmdStatus(res));
			PQclear(res);
		}
	}
	return e->code;
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

/* ---- notifications */

int pq_socket(const struct pq *q)
{
	return PQsocket(q->conn);
}

bool pq_woken(struct pq *q)
{
	struct err ignored = { 0 };
	bool woken = pq_consume(q, &ignored) < 0;

	for (PGnotify *n; (n = PQnotifies(q->conn)); woken = q->notified = true)
		PQfreemem(n);
	return woken;
}

bool pq_notified(const struct pq *q)
{
	return q->notified;
}
