/*
 * A run: connect, load batches, sleep, and again after errors, until a signal or the end of a
 * finite run stops it. On SIGHUP it reads the config again (reload.c).
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run.h"

#define POLL_MS 1                       /* least pause between two looks at an empty queue */
#define POLL_SHARE 100                  /* a pause is 1/100 of the time since the last event */

/* Finishes the last batch on the queue; else it would come again, only to be finished. */
static void finish(struct run *r)
{
	struct err e = { 0 };

	if (!process_stop_now() && batch_finish(&r->loader, &e) < 0)
		log_warn("%s; the last batch is in the target and will be finished later", e.msg);
}

/* Is a table to be copied, and not complete yet? */
static bool is_copying(const struct run *r)
{
	return r->conf->from_table && !r->copied;
}

/* SIGHUP */
static void reload(struct run *r)
{
	struct conf conf;

	if (is_copying(r)) {            /* another config may be another copy's */
		settings_open_log(r->conf, &(struct err){ 0 });
		return;
	}
	report_reloading(&r->watch.report);
	if (reload_read(r, &conf)) {
		finish(r);
		reload_take(r, &conf);
	}
	report_ready(&r->watch.report);
}

/* ---- the loop */

/* The background process is up, or knows that it must wait: the parent may exit. */
static void leave_terminal(struct run *r)
{
	report_ready(&r->watch.report);
	if (r->asked->daemon)
		process_ready();
}

static void note_connected(struct run *r)
{
	if (!r->connected_once)
		leave_terminal(r);
	r->connected_once = true;
	r->retry.attended = false;
}

/* true: continue. false: exit. */
static bool recover(struct run *r, const struct err *e)
{
	struct job *j = &r->job;
	bool lost = e->code == ERR_CONN && j->src && j->dst[0] && !connect_failed(e);

	int64_t ms = retry_after(&r->retry, r->conf, e, lost);
	watch_error(&r->watch, e, ms >= 0);
	job_disconnect(j);
	if (ms < 0)
		return false;
	leave_terminal(r);
	watch_sleep(&r->watch, ms);
	return true;
}

/* --once: at which tick it will end. */
static int look_ahead(struct run *r, struct err *e)
{
	const struct conf *c = r->conf;
	struct queue_state state;

	if (queue_state(r->job.src, c->queue_name, c->consumer_name, &state, e) == 0)
		r->until_tick = state.last_tick;
	return e->code;
}

static int connect_all(struct run *r, struct err *e)
{
	struct job *j = &r->job;
	int64_t oldest_ms = clock_ms() - r->conf->connection_lifetime, tick;

	j->conf = r->conf;
	if (j->src && r->conf->connection_lifetime && pq_server(j->src)->opened_ms < oldest_ms)
		job_disconnect(j);
	bool fresh = !j->src;
	if (job_connect(j, e) < 0)
		return e->code;
	if (fresh && !run_is_one_off(r) && queue_listen(j->src, r->conf->queue_name, e) < 0)
		return e->code;
	note_connected(r);
	if (!r->asked->once || r->until_tick)
		return 0;
	return r->asked->tick && ticker_run(r->conf, j->src, &tick, e) < 0 ? e->code :
		look_ahead(r, e);
}

/* loop_delay is for a quiet queue, and for one whose ticks wake us. After events of another we poll
 * often, so that the next tick's rows do not wait, and less often the longer nothing comes. */
static int64_t pause_when_empty(const struct run *r)
{
	int64_t ms = (clock_ms() - r->busy_ms) / POLL_SHARE;

	if (ms < POLL_MS)
		ms = POLL_MS;
	if (!r->busy_ms || pq_notified(r->job.src) || ms > r->conf->loop_delay)
		return r->conf->loop_delay;
	return ms;
}

/* --once: is all in, and also the number of lanes as the config has it? */
static bool is_complete(const struct run *r)
{
	size_t stored = r->job.stored_lanes;

	return r->asked->once && r->loader.last_tick >= r->until_tick &&
		(!stored || stored == (size_t)r->conf->lanes);
}

static void succeed(struct run *r, bool idle)
{
	retry_success(&r->retry);
	report_success(&r->watch.report, idle);
}

/* As work, where a table is the source. */
static int work_from(struct run *r, struct err *e)
{
	int rc = from_run(&r->from, e);

	if (rc < 0)
		return rc;
	note_connected(r);
	succeed(r, rc == 0);
	if (rc || run_is_copy(r))
		return rc;
	r->copied = true;
	from_free(&r->from);
	job_disconnect(&r->job);
	log_info("the copy is complete: on to queue %s", r->conf->queue_name);
	return 1;
}

/* 1: there may be more; 0: the queue is empty; else an error. */
static int work(struct run *r, struct err *e)
{
	int64_t events = r->loader.events;
	struct dests *dests = &r->job.dests;
	int64_t tick = r->loader.last_tick ? r->loader.last_tick : -1;
	int rc = connect_all(r, e);

	if (rc == 0)
		rc = watch_look(&r->watch, r->job.src, r->job.dst[0], tick, e);
	if (rc == 0)
		rc = batch_run(&r->loader, e);
	if (rc < 0)
		return rc;
	/* without src nobody knows whether the clocks are apart */
	if (r->job.src && upkeep_run(&r->job, rc > 0 ? dests->sink : NULL))
		places_forget(dests);
	succeed(r, rc == 0);
	if (r->loader.events > events)
		r->busy_ms = clock_ms();
	return rc && !is_complete(r);
}

/* false: the pid file was removed, and another process holds a new one. */
static bool keep_pidfile(void)
{
	char why[512];
	int rc = pidfile_keep(why, sizeof why);

	if (rc == PIDFILE_HELD)
		log_error("our pid file was taken away, and another process has started since: %s",
			why);
	else if (rc < 0)
		log_warn("our pid file was taken away: %s", why);
	return rc != PIDFILE_HELD;
}

/* Returns the exit code. */
static int loop(struct run *r)
{
	bool done = false, ours = true;

	while (!process_stop_after_batch()) {
		struct err e = { 0 };
		if (process_take_reload())
			reload(r);
		ours = keep_pidfile();
		if (!ours)
			break;
		int rc = is_copying(r) ? work_from(r, &e) : work(r, &e);
		if (rc == ERR_STOP || process_stop_now())
			break;
		if (rc < 0 && !recover(r, &e))
			return rc == ERR_CONF ? 2 : 1;
		done = rc == 0 && run_is_one_off(r);
		if (done)
			break;
		if (rc == 0)
			watch_idle(&r->watch, r->job.src, pause_when_empty(r));
	}
	if (process_stop_after_batch())
		log_info("told to stop");
	finish(r);
	return !ours || (run_is_one_off(r) && !done) ? 1 : 0;
}

/* ---- the run as a whole */

static bool is_terminal(void)
{
	const char *term = getenv("TERM");

	return isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

/* With --once somebody watches, unless -q; -v asks for log lines instead. */
static void show_progress(struct run *r)
{
	const struct switches *asked = r->asked;

	if (!run_is_finite(r) || (asked->verbosity < 0 && !asked->progress_json))
		return;
	watch_show(&r->watch, asked->progress_json ? PROGRESS_JSON :
		asked->verbosity == 0 && is_terminal() ? PROGRESS_LINE : PROGRESS_LOG,
		asked->verify);
}

static int fail(const char *why, int code)
{
	log_error("%s", why);
	return code;
}

/* Returns the exit code. */
static int start(struct run *r)
{
	const struct conf *c = r->conf;
	struct err e = { 0 };
	char why[512];

	if (r->asked->daemon && process_fork(why, sizeof why) < 0)
		return fail(why, 1);
	process_signals(run_is_one_off(r) ? 1 : 0);
	srand((unsigned)(clock_ms() ^ getpid()));
	/* first, so that a second start does not touch the log of the first */
	if (c->pidfile && pidfile_take(c->pidfile, why, sizeof why) < 0)
		return fail(why, 1);
	if (settings_open_log(c, &e) < 0) {
		pidfile_remove();
		return fail(e.msg, 2);
	}
	show_progress(r);
	settings_warn(c, NULL);
	log_info("tdispatch " TDISPATCH_VERSION " starts: %s %s, consumer %s, into %s",
		c->from_table ? "table" : "queue", c->from_table ? c->from_table : c->queue_name,
		c->consumer_name,
		c->nrule ? "the tables of its sections" : c->dest.dest_table);
	watch_start(&r->watch, c);
	return 0;
}

int run_all(const struct switches *asked, struct conf *conf)
{
	struct run r = {
		.asked = asked, .conf = conf, .job.conf = conf,
		.retry.attended = asked->daemon,
		.loader.verify = asked->verify, .from.verify = asked->verify,
	};
	int code = start(&r);

	if (code)
		return code;
	r.retry.once = run_is_finite(&r);
	r.loader.job = r.from.job = &r.job;
	r.job.watch = &r.watch;
	service_tick(&r);
	code = service_listen(&r) < 0 ? 2 : loop(&r);
	bool stopped = process_stop_after_batch() && (code || !run_is_one_off(&r));
	service_end(&r);
	watch_end(&r.watch, stopped ? "stopped" : code ? "failed" : "done", code && !stopped);
	from_free(&r.from);
	batch_free(&r.loader);
	job_free(&r.job);
	pidfile_remove();
	return code;
}
