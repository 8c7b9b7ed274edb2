/*
 * The ticker inside: a child process makes the queue's ticks and PgQ's maintenance, on a connection
 * of its own, so that no long batch delays them. What it logs goes through its parent's log.
 *
 * It leaves the queue to another ticker while there is one. What it knows of the queue is in memory
 * that it shares with its parent, for the child after it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "private.h"

#define PERIOD_MIN_MS 10
#define RESTART_MS 10000                /* least time between two starts of the child */
#define OTHER_IDLE_MS 5000              /* how much longer than it must another ticker may take */
#define OTHER_BUSY_MS 2000              /* the same while events wait: pgqd looks each second */
#define MAINTENANCE_MS 120000
#define MAINTENANCE_MIN_MS 1000         /* where the rotation period is very short */
#define FORCE_MS 60000                  /* how long to wait for somebody else's tick */
#define FORCE_LOOK_MS 100

/* ---- who ticks? */

enum ticker_role { TICKER_UNKNOWN, TICKER_TICKS, TICKER_STANDS_BY, TICKER_PAUSED };

struct ticker_mind {                    /* what the child knows; zeroed before use */
	enum ticker_role role;
	int64_t seen;                   /* the newest tick at the last look, or made since */
	int64_t since_ms;               /* clock_ms() of the first look */
	bool other;                     /* another ticker was seen at work, or its pgqd */
};

static bool may_take_over(const struct ticker_mind *m, const struct ticker_look *l, int64_t now_ms)
{
	if (l->age_ms > l->idle_ms + OTHER_IDLE_MS)
		return true;
	if (m->other)
		return false;
	return l->only || (l->unticked > 0 && now_ms - m->since_ms > l->lag_ms + OTHER_BUSY_MS);
}

/* After a look: is it on us to tick? Not while others do; then only when they have been silent for
 * longer than the queue allows. At the start a ticker that others run would make itself known,
 * unless the queue has never had one, so we need not wait as long. Pure. */
static enum ticker_role judge(struct ticker_mind *m, const struct ticker_look *l, int64_t now_ms)
{
	bool other = m->seen && l->tick != m->seen;

	if (!m->since_ms)
		m->since_ms = now_ms;
	m->seen = l->tick;
	m->other |= other || l->pgqd;
	if (l->paused)
		m->role = TICKER_PAUSED;
	else if (l->pgqd || (m->role == TICKER_TICKS && other))
		m->role = TICKER_STANDS_BY;
	else if (m->role != TICKER_TICKS)
		m->role = may_take_over(m, l, now_ms) ? TICKER_TICKS : TICKER_STANDS_BY;
	if (m->role == TICKER_TICKS)
		m->other = false;
	return m->role;
}

/* ---- the child */

struct ticking {
	const struct conf *conf;
	struct ticker_mind *mind;
	struct pq *src;                 /* NULL: not connected */
	int64_t maintain_ms;            /* clock_ms() of the next maintenance */
	char said[256];                 /* the beginning of the last error */
};

static void tell_role(const struct ticking *t, const struct ticker_look *l)
{
	const char *queue = t->conf->queue_name;

	if (t->mind->role == TICKER_TICKS)
		log_info("makes the ticks of queue %s, whose newest is %" PRId64 " s old", queue,
			l->age_ms / 1000);
	else if (t->mind->role == TICKER_PAUSED)
		log_warn("queue %s takes no ticks: its ticker is paused or external", queue);
	else
		log_info("stands by: %s queue %s", l->pgqd ? "pgqd is connected, and ticks" :
			"there may be another ticker of", queue);
}

static int maintain(struct ticking *t, const struct ticker_look *l, struct err *e)
{
	int64_t every_ms = MAINTENANCE_MS;

	if (clock_ms() < t->maintain_ms)
		return 0;
	if (l->rotation_ms > 0 && l->rotation_ms / 2 < every_ms)
		every_ms = l->rotation_ms / 2;
	if (every_ms < MAINTENANCE_MIN_MS)
		every_ms = MAINTENANCE_MIN_MS;
	t->maintain_ms = clock_ms() + every_ms;
	return ticker_maintain(t->src, t->conf->queue_name, e);
}

/* One look at the queue, and what it asks for. */
static int work(struct ticking *t, struct err *e)
{
	enum ticker_role before = t->mind->role;
	struct ticker_look l;
	int64_t tick;

	if (!t->src)
		t->src = queue_open(t->conf, NULL, e);
	if (!t->src || ticker_look(t->src, t->conf->queue_name, &l, e) < 0)
		return e->code;
	if (!l.may_tick)
		return ticker_denied(t->src, e);
	if (judge(t->mind, &l, clock_ms()) != before)
		tell_role(t, &l);
	if (t->mind->role != TICKER_TICKS)
		return 0;
	if (ticker_tick(t->src, t->conf->queue_name, &l, &tick, e) < 0)
		return e->code;
	if (tick) {
		t->mind->seen = tick;
		log_debug("tick %" PRId64, tick);
	}
	return maintain(t, &l, e);
}

/* Of a lost connection our parent tells, too. What stays is told once. */
static void tell_error(struct ticking *t, const struct err *e)
{
	bool news = strncmp(t->said, e->msg, sizeof t->said - 1) != 0;
	bool passes = e->code == ERR_CONN || e->code == ERR_TIMEOUT || e->code == ERR_CONFLICT;

	(news && !passes ? log_warn : log_debug)("%s", e->msg);
	memcpy(t->said, e->msg, sizeof t->said - 1);
}

/* Returns how long to wait. */
static int64_t after_error(struct ticking *t, const struct err *e)
{
	tell_error(t, e);
	if (e->code == ERR_TIMEOUT || e->code == ERR_CONFLICT)
		return t->conf->ticker_period;
	pq_close(t->src);
	t->src = NULL;
	return t->conf->exception_sleep;
}

static void serve(struct ticking *t)
{
	for (;;) {
		struct err e = { 0 };
		int64_t ms = t->conf->ticker_period;
		if (work(t, &e) < 0)
			ms = after_error(t, &e);
		else
			*t->said = 0;
		process_sleep(ms > PERIOD_MIN_MS ? ms : PERIOD_MIN_MS);
	}
}

/* ---- its parent */

static void start_child(struct ticker *t)
{
	struct ticking ticking = { .conf = t->conf, .mind = t->mind };
	pid_t parent = getpid();
	int pair[2];

	t->started_ms = clock_ms();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		log_warn("ticker: cannot start a process: %s", strerror(errno));
		return;
	}
	t->child = fork();
	if (t->child == 0) {
		process_child(parent, pair[1]);
		prctl(PR_SET_NAME, "tdispatch-tick");
		log_forward(pair[1]);
		serve(&ticking);
	}
	close(pair[1]);
	t->fd = pair[0];
	if (t->child < 0)
		log_warn("ticker: cannot start a process: %s", strerror(errno));
}

static void clear_child(struct ticker *t)
{
	if (t->fd > 0)
		close(t->fd);
	t->fd = -1;
	t->child = 0;
}

void ticker_start(struct ticker *t, const struct conf *conf)
{
	ticker_stop(t);
	if (!conf->ticker)
		return;
	void *at = mmap(NULL, sizeof *t->mind, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		-1, 0);
	if (at == MAP_FAILED) {
		log_warn("ticker: cannot start a process: %s", strerror(errno));
		return;
	}
	t->conf = conf;
	t->mind = at;
	start_child(t);
}

void ticker_tend(struct ticker *t)
{
	int status;

	if (!t || !t->mind)
		return;
	if (t->fd > 0)
		log_relay(t->fd, "ticker: ");
	if (t->child > 0 && waitpid(t->child, &status, WNOHANG) == t->child) {
		log_warn("ticker: its process %d ended (%s %d); the next one starts within %d s",
			(int)t->child, WIFSIGNALED(status) ? "signal" : "exit code",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
			RESTART_MS / 1000);
		clear_child(t);
	}
	if (t->child <= 0 && clock_ms() - t->started_ms >= RESTART_MS)
		start_child(t);
}

void ticker_stop(struct ticker *t)
{
	if (t->child > 0) {
		kill(t->child, SIGKILL);
		waitpid(t->child, NULL, 0);
	}
	if (t->fd > 0)
		log_relay(t->fd, "ticker: ");
	clear_child(t);
	if (t->mind)
		munmap(t->mind, sizeof *t->mind);
	*t = (struct ticker){ .fd = -1 };
}

/* ---- a tick on request */

/* Makes the tick, or waits for who makes it. */
static int try_force(const struct conf *c, struct pq *src, int64_t txid, int64_t *tick,
	struct err *e)
{
	struct ticker_look l;

	if (ticker_look(src, c->queue_name, &l, e) < 0)
		return e->code;
	if (l.paused)
		return err_set(e, ERR_SHAPE, "queue %s takes no ticks: its ticker is paused or"
			" external", c->queue_name);
	if (l.may_tick && ticker_tick(src, c->queue_name, &l, tick, e) == ERR_TIMEOUT)
		*e = (struct err){ 0 };
	return e->code ? e->code : ticker_sees(src, c->queue_name, txid, tick, e);
}

static int nobody_ticks(const struct conf *c, struct pq *src, struct err *e)
{
	struct err why = { 0 };

	ticker_denied(src, &why);
	return err_set(e, ERR_RIGHTS, "queue %s got no tick in %d s: no ticker runs (ticker = 1,"
		" pgqd or pg_cron), and %s", c->queue_name, FORCE_MS / 1000, why.msg);
}

int ticker_run(const struct conf *c, struct pq *src, int64_t *tick, struct err *e)
{
	int64_t txid, end_ms = clock_ms() + FORCE_MS;

	*tick = 0;
	if (ticker_force(src, c->queue_name, &txid, e) < 0)
		return e->code;
	while (!*tick && try_force(c, src, txid, tick, e) == 0 && !*tick) {
		if (clock_ms() > end_ms)
			return nobody_ticks(c, src, e);
		if (!process_sleep(FORCE_LOOK_MS))
			return err_set(e, ERR_STOP, "told to stop");
	}
	return e->code;
}
