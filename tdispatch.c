/*
 * main: the loop of connecting, working and sleeping, what to do after an error, and the exit
 * codes: 0 done, 1 failed while running, 2 wrong usage or config.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tdispatch.h"

#define CONN_PAUSE_MS 1000              /* after the first lost connection; doubles each time */
#define CONFLICT_PAUSE_MS 200
#define POLL_MS 5                       /* least pause between two looks at an empty queue */
#define POLL_SHARE 100                  /* a pause is 1/100 of the time since the last event */
#define MAX_LAG_S 1200                  /* default of --health: longer than server_timeout */
#define TIMEOUT_TRIES 3                 /* timeouts in a row before they are reported */

struct app {
	struct switches asked;
	struct conf conf;
	struct job job;
	struct loader loader;
	struct watch watch;
	bool connected_once;
	int64_t until_tick;             /* --once: the queue's last tick at the start, 0: unknown */
	int64_t busy_ms;                /* clock_ms() after the last batch that had events */
	int failing;                    /* the code of the last error, 0 after a success */
	int64_t failing_since_ms;
	int failures;                   /* in a row */
};

/* ---- the config */

static int load_config(const struct app *a, struct conf *conf, struct err *e)
{
	if (conf_load(conf, a->asked.file, a->asked.sets, a->asked.nsets, e) < 0)
		return e->code;
	if (a->asked.mode->traits & MODE_NO_SERVERS)
		return 0;
	if (connect_check("src_db", conf->src_db, e) < 0 ||
	    connect_check("dst_db", conf->dst_db, e) < 0)
		return e->code;
	if (a->asked.daemon && !conf->pidfile)
		return err_set(e, ERR_CONF, "%s: --daemon needs the key pidfile", conf->file);
	return 0;
}

/* Applies the settings that other files keep themselves. */
static void apply_config(const struct app *a)
{
	int level = LVL_INFO + a->asked.verbosity;

	log_setup(a->conf.job_name, level < LVL_WARN ? LVL_WARN : level > LVL_TRACE ? LVL_TRACE :
		(enum log_level)level);
	log_json((a->asked.mode->traits & MODE_LOG) && a->conf.log_format == LOG_JSON);
	pq_setup(a->conf.server_timeout);
}

static void log_warnings(const struct conf *conf)
{
	for (const char *p = conf->warnings.p, *end = p + conf->warnings.len; p < end;) {
		size_t n = strcspn(p, "\n");
		log_warn("%.*s", (int)n, p);
		p += n + 1;
	}
	if (strcmp(conf->use_skylog, "0") != 0)
		log_info("use_skylog is accepted and ignored: there is no central logging, see"
			" logfile");
}

static int open_log(const struct conf *conf, struct err *e)
{
	char why[512];

	if (!conf->logfile)
		log_close();
	else if (strcmp(conf->logfile, "syslog") == 0)
		log_to_syslog();
	else if (log_open(conf->logfile, conf->log_size, (int)conf->log_count, why, sizeof why) < 0)
		return err_set(e, ERR_CONF, "%s", why);
	return 0;
}

/* Finishes the last batch on the queue; else it would come again, only to be finished. */
static void finish(struct app *a)
{
	struct err e = { 0 };

	if (!process_stop_now() && batch_finish(&a->loader, &e) < 0)
		log_warn("%s; the last batch is in the target and will be finished later", e.msg);
}

static bool is_same(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

/* An invalid config changes nothing, but the log file is reopened all the same. */
static void read_again(struct app *a)
{
	struct conf conf;
	struct err e = { 0 };

	if (load_config(a, &conf, &e) < 0 || open_log(&conf, &e) < 0) {
		conf_free(&conf);
		open_log(&a->conf, &(struct err){ 0 });
		log_error("not reloaded, the old config stays: %s", e.msg);
		return;
	}
	if (!is_same(conf.pidfile, a->conf.pidfile))
		log_warn("the pidfile stays %s until the next start", a->conf.pidfile ?
			a->conf.pidfile : "unset");
	finish(a);
	const struct dest *old = &a->conf.dest, *new = &conf.dest;
	bool keeps = is_same(new->part_keep, old->part_keep) &&
		is_same(new->dest_table, old->dest_table);
	int64_t keep_at_ms = keeps ? a->job.retain.keep_at_ms : 0;
	batch_free(&a->loader);
	job_free(&a->job);
	a->job.retain.keep_at_ms = keep_at_ms;
	report_moves(&a->watch.report, &conf);
	conf_free(&a->conf);
	a->conf = conf;
	apply_config(a);
	log_warnings(&a->conf);
	log_info("config %s read again", a->conf.file);
}

/* SIGHUP */
static void reload(struct app *a)
{
	report_reloading(&a->watch.report);
	read_again(a);
	report_ready(&a->watch.report);
}

/* ---- the loop */

static int64_t jitter(int64_t ms)
{
	return ms / 2 + (ms > 1 ? rand() % (ms / 2 + 1) : 0);
}

/* How long to wait after the error. After a lost connection: briefly, then longer and longer. */
static int64_t pause_after(const struct app *a, int code)
{
	int64_t ms = CONN_PAUSE_MS, most = 3 * a->conf.exception_sleep;

	switch (code) {
	case ERR_CONFLICT:
		return jitter(2 * CONFLICT_PAUSE_MS);
	case ERR_CONN:
	case ERR_READONLY:
		for (int i = 1; i < a->failures && ms < most; i++)
			ms *= 2;
		return jitter(ms < most ? ms : most);
	default:
		return a->conf.exception_sleep;
	}
}

static bool can_recover(int code)
{
	return code != ERR_DATA && code != ERR_SHAPE && code != ERR_POSITION && code != ERR_CONF;
}

/* Retry? That depends on the kind of error, the mode and how long it has lasted. */
static bool try_again(const struct app *a, int code)
{
	if (!can_recover(code))
		return false;
	if (!a->asked.once)
		return a->connected_once || !a->asked.daemon || code != ERR_RIGHTS;
	switch (code) {
	case ERR_CONN:
	case ERR_READONLY:
	case ERR_CONFLICT:
		return clock_ms() - a->failing_since_ms < a->conf.retry_limit;
	case ERR_TIMEOUT:
		return a->failures < TIMEOUT_TRIES;
	default:
		return false;
	}
}

/* What to do about "permission denied". */
static const char *hint(const struct err *e)
{
	return sqlstate_is_denied(e->sqlstate) ? "; --check says which GRANT is missing" : "";
}

/* Logs a change of state once, not each try. Losing a restored connection is a change, too. */
static void tell(struct app *a, const struct err *e, bool again)
{
	bool lost = e->code == ERR_CONN && a->job.src && a->job.dst[0] && !connect_failed(e);
	bool news = a->failing != e->code || lost;
	const char *setting = a->failures >= TIMEOUT_TRIES ? sqlstate_setting(e->sqlstate) : NULL;

	if (!again)
		log_error("%s%s", e->msg, hint(e));
	else if (e->code == ERR_CONN || e->code == ERR_CONFLICT || e->code == ERR_READONLY)
		(news ? log_warn : log_debug)("%s; trying again", e->msg);
	else if (e->code == ERR_TIMEOUT && setting)
		log_error("%s; %d times in a row: see %s of the role and the database; trying again"
			" in %lld s", e->msg, a->failures, setting,
			(long long)(pause_after(a, e->code) / 1000));
	else
		log_error("%s%s; trying again in %lld s", e->msg, hint(e),
			(long long)(pause_after(a, e->code) / 1000));
}

/* The background process is up, or knows that it must wait: the parent may exit. */
static void leave_terminal(struct app *a)
{
	report_ready(&a->watch.report);
	if (!a->asked.daemon)
		return;
	process_ready();
	log_to_stderr(false);
}

/* true: continue. false: exit. */
static bool recover(struct app *a, const struct err *e)
{
	if (a->failing != e->code) {
		a->failures = 0;
		if (!a->failing)
			a->failing_since_ms = clock_ms();
	}
	a->failures++;
	watch_error(&a->watch, e);
	bool again = try_again(a, e->code);
	tell(a, e, again);
	a->failing = e->code;
	job_disconnect(&a->job);
	if (!again)
		return false;
	leave_terminal(a);
	int64_t ms = pause_after(a, e->code), left_ms = a->failing_since_ms + a->conf.retry_limit -
		clock_ms();
	report_sleep(&a->watch.report, a->asked.once && left_ms < ms ? left_ms : ms);
	return true;
}

static void recovered(struct app *a)
{
	if (a->failing)
		log_info("working again");
	a->failing = a->failures = 0;
}

/* --once: at which tick it will end, and about how many events that is. */
static int look_ahead(struct app *a, struct err *e)
{
	const struct conf *c = &a->conf;
	struct queue_state state;

	if (queue_pending(a->job.src, c->queue_name, c->consumer_name, &a->watch.progress.total,
	    e) == 0 && queue_state(a->job.src, c->queue_name, c->consumer_name, &state, e) == 0)
		a->until_tick = state.last_tick;
	return e->code;
}

static int connect_all(struct app *a, struct err *e)
{
	struct job *j = &a->job;
	int64_t oldest_ms = clock_ms() - a->conf.connection_lifetime;

	j->conf = &a->conf;
	if (j->src && a->conf.connection_lifetime && pq_opened_ms(j->src) < oldest_ms)
		job_disconnect(j);
	if (job_connect(j, e) < 0)
		return e->code;
	if (!a->connected_once)
		leave_terminal(a);
	a->connected_once = true;
	return a->asked.once && !a->until_tick ? look_ahead(a, e) : 0;
}

/* loop_delay is for a quiet queue. After events we poll often, so that the next tick's rows do not
 * wait, and less often the longer nothing comes. */
static int64_t pause_when_empty(const struct app *a)
{
	int64_t ms = (clock_ms() - a->busy_ms) / POLL_SHARE;

	if (ms < POLL_MS)
		ms = POLL_MS;
	return a->busy_ms && ms < a->conf.loop_delay ? ms : a->conf.loop_delay;
}

/* 1: there may be more; 0: the queue is empty; else an error. */
static int work(struct app *a, struct err *e)
{
	int64_t events = a->loader.events;
	int rc = connect_all(a, e);

	if (rc == 0)
		rc = retain_begin(&a->job, e);
	if (rc == 0)
		rc = batch_run(&a->loader, e);
	if (rc < 0)
		return rc;
	recovered(a);
	struct places *places = &a->loader.places;
	if (retain_run(&a->job, places->route, places->sink, rc > 0))
		places_forget(places);
	report_success(&a->watch.report, rc == 0);
	if (a->loader.events > events)
		a->busy_ms = clock_ms();
	return rc && !(a->asked.once && a->loader.last_tick >= a->until_tick);
}

/* Does the run end by itself? Then being stopped early is a failure. */
static bool is_one_off(const struct app *a)
{
	return a->asked.once || a->conf.loop_delay == 0;
}

/* false: the pid file was removed, and another process holds a new one. */
static bool keep_pidfile(void)
{
	char why[512];
	int rc = process_pidfile_keep(why, sizeof why);

	if (rc == PIDFILE_HELD)
		log_error("our pid file was taken away, and another process has started since: %s",
			why);
	else if (rc < 0)
		log_warn("our pid file was taken away: %s", why);
	return rc != PIDFILE_HELD;
}

static int loop(struct app *a)
{
	bool done = false, ours = true;

	while (!process_stop_after_batch()) {
		struct err e = { 0 };
		if (process_take_reload())
			reload(a);
		ours = keep_pidfile();
		if (!ours)
			break;
		int rc = work(a, &e);
		if (rc == ERR_STOP || process_stop_now())
			break;
		if (rc < 0 && !recover(a, &e))
			return rc == ERR_CONF ? 2 : 1;
		done = rc == 0 && is_one_off(a);
		if (done)
			break;
		if (rc == 0)
			report_sleep(&a->watch.report, pause_when_empty(a));
	}
	if (process_stop_after_batch())
		log_info("told to stop");
	finish(a);
	return !ours || (is_one_off(a) && !done) ? 1 : 0;
}

/* ---- modes */

static int fail(const struct err *e)
{
	log_error("%s", e->msg);
	return e->code == ERR_CONF ? 2 : 1;
}

static bool is_terminal(void)
{
	const char *term = getenv("TERM");

	return isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

/* With --once somebody watches, unless -q; -v asks for log lines instead. */
static void begin_progress(struct app *a)
{
	a->loader.verify = a->asked.verify;
	if (!a->asked.once || (a->asked.verbosity < 0 && !a->asked.progress_json))
		return;
	watch_show(&a->watch, a->asked.progress_json ? PROGRESS_JSON :
		a->asked.verbosity == 0 && is_terminal() ? PROGRESS_LINE : PROGRESS_LOG);
}

static int run(struct app *a)
{
	struct err e = { 0 };
	char why[512];

	if (a->asked.daemon && process_fork(why, sizeof why) < 0) {
		log_error("%s", why);
		return 1;
	}
	process_signals(is_one_off(a) ? 1 : 0);
	srand((unsigned)(clock_ms() ^ getpid()));
	/* first, so that a second start does not touch the log of the first */
	if (a->conf.pidfile && process_pidfile(a->conf.pidfile, why, sizeof why) < 0) {
		log_error("%s", why);
		return 1;
	}
	if (open_log(&a->conf, &e) < 0) {
		process_pidfile_remove();
		return fail(&e);
	}
	begin_progress(a);
	log_info("tdispatch " TDISPATCH_VERSION " starts: queue %s, consumer %s, into %s",
		a->conf.queue_name, a->conf.consumer_name, a->conf.dest.dest_table);
	a->job.watch = &a->watch;
	watch_start(&a->watch, &a->conf);
	int code = loop(a);
	bool stopped = process_stop_after_batch();
	watch_end(&a->watch, stopped ? "stopped" : code ? "failed" : "done", code && !stopped);
	batch_free(&a->loader);
	job_free(&a->job);
	process_pidfile_remove();
	return code;
}

/* For modes without a log: prints one line, returns the exit code. */
static int refuse(const char *why, int code)
{
	print_line(stderr, "tdispatch: %s\n", why);
	return code;
}

static int send_signal(struct app *a)
{
	char why[512];

	if (!a->conf.pidfile)
		return refuse("the config has no pidfile, so the running process cannot be found",
			2);
	if (process_signal(a->conf.pidfile, a->asked.mode->signal, why, sizeof why) == 0)
		return 0;
	return refuse(why, 1);
}

/* --health. Prints one line, for the log of a container engine. */
static int health(struct app *a)
{
	struct buf line = { 0 };

	if (!a->conf.state_file)
		return refuse("the config has neither state_file nor pidfile, so nothing is known"
			" of the running process: set state_file", 2);
	bool yes = report_healthy(a->conf.state_file, (a->asked.max_lag ? a->asked.max_lag :
		MAX_LAG_S) * 1000, &line);
	print_line(yes ? stdout : stderr, "%s: %s\n", yes ? "healthy" : "not healthy",
		buf_cstr(&line));
	buf_free(&line);
	return yes ? 0 : 1;
}

static int show_config(struct app *a)
{
	struct buf out = { 0 };

	conf_show(&a->conf, &out, connect_mask);
	fputs(buf_cstr(&out), stdout);
	buf_free(&out);
	return 0;
}

static int check(struct app *a)
{
	return check_run(&a->job);
}

static int status(struct app *a)
{
	return status_run(&a->job, a->asked.json);
}

/* Runs a mode that needs only the connections. */
static int act(struct app *a)
{
	struct err e = { 0 };
	int rc = a->asked.mode->action(&a->job, &e);

	job_free(&a->job);
	return rc < 0 ? fail(&e) : rc;
}

static int help(struct app *a)
{
	(void)a;
	fputs(switches_help, stdout);
	return 0;
}

static int version(struct app *a)
{
	puts("tdispatch " TDISPATCH_VERSION);
	if (a->asked.verbosity > 0)
		fputs(conf_versions, stdout);
	if (a->asked.verbosity > 0 && connect_lacks())
		printf("this libpq does not know %s\n", connect_lacks());
	return 0;
}

static int sample(struct app *a)
{
	(void)a;
	fputs(conf_sample, stdout);
	return 0;
}

static int licenses(struct app *a)
{
	(void)a;
	fputs(conf_licenses, stdout);
	return 0;
}

static const struct mode modes[] = {
	{ NULL, 0, MODE_LOG, .run = run },
	{ "help", 'h', MODE_NO_CONFIG, .run = help },
	{ "version", 'V', MODE_NO_CONFIG, .run = version },
	{ "licenses", 0, MODE_NO_CONFIG, .run = licenses },
	{ "ini", 0, MODE_NO_CONFIG, .run = sample },
	{ "show-config", 0, 0, .run = show_config },
	{ "show-partitions", 0, 0, .run = act, .action = retain_show },
	{ "check", 0, 0, .run = check },
	{ "dry-run", 0, 0, .run = act, .action = dryrun_run },
	{ "status", 0, MODE_JSON, .run = status },
	{ "health", 0, MODE_NO_SERVERS | MODE_STATE_FILE | MODE_LENIENT | MODE_MAX_LAG,
		.run = health },
	{ "install", 0, 0, .run = act, .action = admin_install },
	{ "register", 0, 0, .run = act, .action = admin_register },
	{ "unregister", 0, 0, .run = act, .action = admin_unregister },
	{ "rewind", 0, 0, .run = act, .action = admin_rewind },
	{ "reset", 0, 0, .run = act, .action = admin_reset },
	{ "replay", 0, 0, .run = act, .action = replay_run },
	{ "reload", 'r', MODE_PIDFILE, .run = send_signal, .signal = SIGHUP },
	{ "stop", 's', MODE_PIDFILE | MODE_LENIENT, .run = send_signal, .signal = SIGINT },
	{ "kill", 'k', MODE_PIDFILE | MODE_LENIENT, .run = send_signal, .signal = SIGTERM },
};

/* A config broken after the start must not prevent querying or stopping its process. */
static bool finds_process(const struct app *a)
{
	unsigned traits = a->asked.mode->traits;

	return (traits & MODE_LENIENT) && (traits & MODE_PIDFILE ? a->conf.pidfile :
		a->conf.state_file);
}

static int with_config(struct app *a)
{
	struct err e = { 0 };

	if (load_config(a, &a->conf, &e) < 0 && !finds_process(a)) {
		if (a->conf.warnings.len)       /* a misspelt key may be the cause */
			print_page(stderr, buf_cstr(&a->conf.warnings));
		return refuse(e.msg, 2);
	}
	a->job.conf = &a->conf;
	a->loader.job = &a->job;
	if (!e.code)                    /* without one there may be no job_name */
		apply_config(a);
	if (!(a->asked.mode->traits & (MODE_PIDFILE | MODE_STATE_FILE)))
		log_warnings(&a->conf);
	return a->asked.mode->run(a);
}

int main(int argc, char **argv)
{
	struct app a = { 0 };

	process_begin();
	int code = switches_parse(&a.asked, modes, sizeof modes / sizeof *modes, argc, argv);
	if (code)
		return code;
	code = a.asked.mode->traits & MODE_NO_CONFIG ? a.asked.mode->run(&a) : with_config(&a);
	if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0)
		code = refuse("cannot write to standard output", 1);
	batch_free(&a.loader);
	job_free(&a.job);
	conf_free(&a.conf);
	return code;
}
