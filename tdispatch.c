/*
 * main: what each switch does, and the exit codes: 0 done, 1 failed while running, 2 wrong usage or
 * config.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "tdispatch.h"

struct app {
	struct switches asked;
	struct conf conf;
	struct job job;                 /* of the modes that only look and set up */
};

static int fail(const struct err *e)
{
	log_error("%s", e->msg);
	return e->code == ERR_CONF ? 2 : 1;
}

/* For modes without a log: prints one line, returns the exit code. */
static int refuse(const char *why, int code)
{
	print_line(stderr, "tdispatch: %s\n", why);
	return code;
}

/* -r, -s, -k */
static int send_signal(struct app *a)
{
	char why[1024];

	if (!a->conf.pidfile)
		return refuse("the config has no pidfile, so the running process cannot be found",
			2);
	int pid = pidfile_holder(a->conf.pidfile, why, sizeof why);
	if (pid <= 0 || state_is_anothers(&a->conf, pid, why, sizeof why) ||
	    pidfile_signal(pid, a->asked.mode->signal, why, sizeof why) < 0)
		return refuse(why, 1);
	return 0;
}

/* --health. Prints one line, for the log of a container engine. */
static int health(struct app *a)
{
	struct buf line = { 0 };

	if (!a->conf.state_file)
		return refuse("the config has neither state_file nor pidfile, so nothing is known"
			" of the running process: set state_file", 2);
	int64_t stall_s = a->asked.max_stall ? a->asked.max_stall : HEALTH_STALL_S;
	bool yes = state_healthy(a->conf.state_file, stall_s * 1000, a->asked.max_lag * 1000,
		&line);
	print_line(yes ? stdout : stderr, "%s\n", buf_cstr(&line));
	buf_free(&line);
	return yes ? 0 : 1;
}

static int show_config(struct app *a)
{
	struct buf out = { 0 };

	conf_show(&a->conf, &out, conninfo_mask);
	fputs(buf_cstr(&out), stdout);
	buf_free(&out);
	return 0;
}

static int run(struct app *a)
{
	return run_all(&a->asked, &a->conf);
}

static int check(struct app *a)
{
	return check_run(&a->job);
}

static int install(struct app *a)
{
	struct err e = { 0 };

	return admin_install(&a->job, a->asked.grant, &e) < 0 ? fail(&e) : 0;
}

static int status(struct app *a)
{
	return status_run(&a->job, a->asked.json, a->asked.watch);
}

/* Runs a mode that needs only the connections. */
static int act(struct app *a)
{
	struct err e = { 0 };
	int rc = a->asked.mode->action(&a->job, &e);

	job_free(&a->job);
	return rc < 0 ? fail(&e) : rc;
}

static int reset(struct app *a)
{
	struct err e = { 0 };
	int rc = admin_reset(&a->job, a->asked.yes, &e);

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
	if (a->asked.verbosity > 0 && conninfo_lacks())
		printf("this libpq does not know %s\n", conninfo_lacks());
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
	{ "show-partitions", 0, 0, .run = act, .action = admin_partitions },
	{ "check", 0, 0, .run = check },
	{ "dry-run", 0, 0, .run = act, .action = dryrun_run },
	{ "status", 0, MODE_JSON, .run = status },
	{ "health", 0, MODE_NO_SERVERS | MODE_STATE_FILE | MODE_LENIENT | MODE_MAX_LAG,
		.run = health },
	{ "tick", 0, MODE_TICK | MODE_QUEUE, .run = act, .action = admin_tick },
	{ "install", 0, MODE_GRANT, .run = install },
	{ "register", 0, MODE_QUEUE, .run = act, .action = admin_register },
	{ "unregister", 0, MODE_QUEUE, .run = act, .action = admin_unregister },
	{ "rewind", 0, MODE_QUEUE, .run = act, .action = admin_rewind },
	{ "reset", 0, MODE_YES, .run = reset },
	{ "replay", 0, 0, .run = act, .action = replay_run },
	{ "reload", 'r', MODE_PIDFILE, .run = send_signal, .signal = SIGHUP },
	{ "stop", 's', MODE_PIDFILE | MODE_LENIENT, .run = send_signal, .signal = SIGINT },
	{ "kill", 'k', MODE_PIDFILE | MODE_LENIENT, .run = send_signal, .signal = SIGTERM },
};

/* A config broken after the start must not prevent querying or stopping its process. */
static bool finds_process(const struct app *a)
{
	unsigned traits = a->asked.mode->traits;

	return (traits & MODE_LENIENT) &&
		(traits & MODE_PIDFILE ? a->conf.pidfile : a->conf.state_file);
}

static int with_config(struct app *a)
{
	struct err e = { 0 };

	if (settings_read(&a->asked, &a->conf, &e) < 0 && !finds_process(a)) {
		if (a->conf.warnings.len)       /* a misspelt key may be the cause */
			print_page(stderr, buf_cstr(&a->conf.warnings));
		return refuse(e.msg, 2);
	}
	a->job.conf = &a->conf;
	if (!e.code)                    /* without one there may be no job_name */
		settings_apply(&a->asked, &a->conf);
	/* a run has a log to open first; those that address its process are called often */
	if (!e.code && !(a->asked.mode->traits & (MODE_PIDFILE | MODE_STATE_FILE | MODE_LOG)))
		settings_warn(&a->conf, NULL);
	return a->asked.mode->run(a);
}

int main(int argc, char **argv)
{
	struct app a = { 0 };

	process_begin();
	if (listen_is_child(argc, argv))
		return listen_child();
	int code = switches_parse(&a.asked, modes, sizeof modes / sizeof *modes, argc, argv);
	if (code)
		return code;
	code = a.asked.mode->traits & MODE_NO_CONFIG ? a.asked.mode->run(&a) : with_config(&a);
	if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0)
		code = refuse("cannot write to standard output", 1);
	job_free(&a.job);
	conf_free(&a.conf);
	free(a.asked.from);
	return code;
}
