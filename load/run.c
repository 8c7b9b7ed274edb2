/*
 * A run: connect, load batches, sleep, and again after errors, until a signal or the end of a
 * finite run stops it. Reads the config again on SIGHUP.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

#define POLL_MS 1                       /* least pause between two looks at an empty queue */
#define POLL_SHARE 100                  /* a pause is 1/100 of the time since the last event */

struct run {
	const struct switches *asked;
	struct conf *conf;
	struct job job;
	struct loader loader;
	struct from from;
	struct watch watch;
	struct listen listen;
	struct ticker ticker;
	struct retry retry;
	bool connected_once;
	bool copied;                    /* from_table is */
	int64_t until_tick;             /* --once: the queue's last tick at the start, 0: unknown */
	int64_t busy_ms;                /* clock_ms() after the last batch that had events */
};

/* ---- the config */

int run_read_conf(const struct switches *asked, struct conf *conf, struct err *e)
{
	if (conf_load(conf, asked->file, asked->sets, asked->nsets, e) < 0)
		return e->code;
	if (asked->mode->traits & MODE_NO_SERVERS)
		return 0;
	if (conninfo_check("src_db", conf->src_db, e) < 0 ||
	    conninfo_check("dst_db", conf->dst_db, e) < 0)
		return e->code;
	if (asked->daemon && !conf->pidfile)
		return err_set(e, ERR_CONF, "%s: --daemon needs the key pidfile", conf->file);
	if ((asked->mode->traits & MODE_QUEUE) && !*conf->queue_name)
		return err_set(e, ERR_CONF, "%s: queue_name must be set for --%s", conf->file,
			asked->mode->name);
	return 0;
}

void run_log_warnings(const struct conf *conf, const struct conf *before)
{
	if (before && conf->warnings.len == before->warnings.len && (!conf->warnings.len ||
	    memcmp(conf->warnings.p, before->warnings.p, conf->warnings.len) == 0))
		return;
	for (const char *p = conf->warnings.p, *end = p + conf->warnings.len; p < end;) {
		size_t n = strcspn(p, "\n");
		log_warn("%.*s", (int)n, p);
		p += n + 1;
	}
	if (strcmp(conf->use_skylog, "0") != 0)
		log_info("use_skylog is accepted and ignored: there is no central logging, see"
			" logfile");
}

void run_apply_conf(const struct switches *asked, const struct conf *conf)
{
	int level = LVL_INFO + asked->verbosity;
	unsigned traits = asked->mode->traits;

	level = level < LVL_WARN ? LVL_WARN : level > LVL_TRACE ? LVL_TRACE : level;
	log_setup(conf->job_name, (enum log_level)level,
		(traits & MODE_LOG) && conf->log_format == LOG_JSON);
	pq_setup(conf->server_timeout);
}

static int open_log(const struct conf *conf, struct err *e)
{
	char why[512];

	if (log_open(conf->logfile, conf->log_size, (int)conf->log_count, why, sizeof why) < 0)
		return err_set(e, ERR_CONF, "%s", why);
	return 0;
}

/* Finishes the last batch on the queue; else it would come again, only to be finished. */
static void finish(struct run *r)
{
	struct err e = { 0 };

	if (!process_stop_now() && batch_finish(&r->loader, &e) < 0)
		log_warn("%s; the last batch is in the target and will be finished later", e.msg);
}

static bool is_same(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

/* Drops what was derived from the old config, and takes over the new one. */
static void replace_conf(struct run *r, struct conf *conf)
{
	const struct dest *old = &r->conf->dest, *new = &conf->dest;
	struct dests *dests = &r->job.dests;
	bool keeps = !r->conf->nrule && !conf->nrule && dests->nplace &&
		is_same(new->part_keep, old->part_keep) &&
		is_same(new->dest_table, old->dest_table);
	int64_t keep_at_ms = keeps ? dests->place[0]->keep_at_ms : 0;

	batch_free(&r->loader);
	job_free(&r->job);
	watch_moves(&r->watch, conf);
	struct conf old_conf = *r->conf;
	*r->conf = *conf;
	zone_take(r->conf->zone, old_conf.zone);
	if (keeps) {                    /* the next look for old partitions is when it was to be */
		dests_open(dests, r->conf, &r->job.style);
		dests->place[0]->keep_at_ms = keep_at_ms;
	}
	run_apply_conf(r->asked, r->conf);
	run_log_warnings(r->conf, &old_conf);
	conf_free(&old_conf);
}

/* Two processes may run with one config: --once beside a daemon, which is left to answer. */
static int open_listener(struct run *r, const char *address, struct err *e)
{
	if (r->watch.report.silent || listen_open(&r->listen, address, e) < 0)
		return e->code;
	report_listen(&r->watch.report, address ? &r->listen : NULL);
	return 0;
}

/* After an error the old address is listened on again. */
static int move_listener(struct run *r, const char *to, struct err *e)
{
	const char *from = r->conf->metrics_listen;

	if (is_same(from, to))
		return 0;
	listen_close(&r->listen);
	if (open_listener(r, to, e) < 0)
		open_listener(r, from, &(struct err){ 0 });
	return e->code;
}

/* Is all that there is to do the copy of a table? Else a queue follows. */
static bool is_copy(const struct run *r)
{
	return r->conf->from_table && (r->asked->from || !*r->conf->queue_name);
}

/* Does the run end by itself? Then being stopped early is a failure. */
static bool is_one_off(const struct run *r)
{
	return r->asked->once || is_copy(r) || r->conf->loop_delay == 0;
}

/* A finite run leaves the queue as it is; for that there is --tick. */
static void begin_to_tick(struct run *r)
{
	r->watch.ticker = is_one_off(r) ? NULL : &r->ticker;
	if (r->watch.ticker)
		ticker_start(&r->ticker, r->conf);
}

/* An invalid config changes nothing, but the log file is reopened all the same. */
static void read_again(struct run *r)
{
	const char *pidfile = r->conf->pidfile;
	struct conf conf;
	struct err e = { 0 };

	if (run_read_conf(r->asked, &conf, &e) < 0 || open_log(&conf, &e) < 0 ||
	    move_listener(r, conf.metrics_listen, &e) < 0) {
		conf_free(&conf);
		open_log(r->conf, &(struct err){ 0 });
		log_error("not reloaded, the old config stays: %s", e.msg);
		return;
	}
	if (!is_same(conf.pidfile, pidfile))
		log_warn("the pidfile stays %s until the next start", pidfile ? pidfile : "unset");
	finish(r);
	ticker_stop(&r->ticker);
	replace_conf(r, &conf);
	begin_to_tick(r);
	log_info("config %s read again", r->conf->file);
}

/* SIGHUP */
static void reload(struct run *r)
{
	if (r->conf->from_table && !r->copied) {        /* another config may be another copy's */
		open_log(r->conf, &(struct err){ 0 });
		return;
	}
	report_reloading(&r->watch.report);
	read_again(r);
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
	if (fresh && !is_one_off(r) && queue_listen(j->src, r->conf->queue_name, e) < 0)
		return e->code;
	if (!r->connected_once)
		leave_terminal(r);
	r->connected_once = true;
	r->retry.attended = false;
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

/* As work, where a table is the source. */
static int work_from(struct run *r, struct err *e)
{
	int rc = from_run(&r->from, e);

	if (rc < 0)
		return rc;
	if (!r->connected_once)
		leave_terminal(r);
	r->connected_once = true;
	r->retry.attended = false;
	retry_success(&r->retry);
	report_success(&r->watch.report, rc == 0);
	if (rc || is_copy(r))
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
	retry_success(&r->retry);
	if (upkeep_run(&r->job, rc > 0 ? dests->sink : NULL))
		places_forget(dests);
	report_success(&r->watch.report, rc == 0);
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
		bool copies = r->conf->from_table && !r->copied;
		int rc = copies ? work_from(r, &e) : work(r, &e);
		if (rc == ERR_STOP || process_stop_now())
			break;
		if (rc < 0 && !recover(r, &e))
			return rc == ERR_CONF ? 2 : 1;
		done = rc == 0 && is_one_off(r);
		if (done)
			break;
		if (rc == 0)
			watch_idle(&r->watch, r->job.src, pause_when_empty(r));
	}
	if (process_stop_after_batch())
		log_info("told to stop");
	finish(r);
	return !ours || (is_one_off(r) && !done) ? 1 : 0;
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

	if (!(asked->once || is_copy(r)) || (asked->verbosity < 0 && !asked->progress_json))
		return;
	watch_show(&r->watch, asked->progress_json ? PROGRESS_JSON :
		asked->verbosity == 0 && is_terminal() ? PROGRESS_LINE : PROGRESS_LOG,
		asked->verify);
}

/* With --once an address that cannot be used is only a warning. */
static int begin_to_listen(struct run *r)
{
	struct err e = { 0 };

	if (open_listener(r, r->conf->metrics_listen, &e) == 0)
		return 0;
	(r->asked->once ? log_warn : log_error)("%s", e.msg);
	return r->asked->once ? 0 : e.code;
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
	process_signals(is_one_off(r) ? 1 : 0);
	srand((unsigned)(clock_ms() ^ getpid()));
	/* first, so that a second start does not touch the log of the first */
	if (c->pidfile && pidfile_take(c->pidfile, why, sizeof why) < 0)
		return fail(why, 1);
	if (open_log(c, &e) < 0) {
		pidfile_remove();
		return fail(e.msg, 2);
	}
	show_progress(r);
	run_log_warnings(c, NULL);
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
		.retry = {
			.once = asked->once || (conf->from_table && !*conf->queue_name),
			.attended = asked->daemon,
		},
		.loader.verify = asked->verify, .from.verify = asked->verify,
	};
	int code = start(&r);

	if (code)
		return code;
	r.loader.job = r.from.job = &r.job;
	r.job.watch = &r.watch;
	begin_to_tick(&r);
	code = begin_to_listen(&r) < 0 ? 2 : loop(&r);
	bool stopped = process_stop_after_batch() && (code || !is_one_off(&r));
	ticker_stop(&r.ticker);
	listen_close(&r.listen);
	watch_end(&r.watch, stopped ? "stopped" : code ? "failed" : "done", code && !stopped);
	from_free(&r.from);
	batch_free(&r.loader);
	job_free(&r.job);
	pidfile_remove();
	return code;
}
