/*
 * What the outside sees of a running process, told from the places where it goes on: the state
 * file at most once a second, the metrics file less often, and systemd. A file that cannot be
 * written is no reason to stop moving rows. Where nobody wants to know, it costs nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

#define STATE_EVERY_MS 1000
#define METRICS_EVERY_MS 5000

static bool is_due(int64_t *next_ms, int64_t every_ms)
{
	int64_t now_ms = clock_ms();

	if (now_ms < *next_ms)
		return false;
	*next_ms = now_ms + every_ms;
	return true;
}

/* Says it once, and once more when it has worked in between. */
static void tell_written(bool *failed, int rc, const char *key, const char *path)
{
	if (rc < 0 && !*failed)
		log_warn("cannot write %s %s: %s", key, path, errno == ELOOP ? "it is a symbolic link" :
			errno == EINVAL ? "it is no regular file" : strerror(errno));
	*failed = rc < 0;
}

static void write_state(struct report *r)
{
	const char *path = r->conf->state_file;

	if (path && !r->silent)
		tell_written(&r->state_failed, state_write(path, &r->state), "state_file", path);
}

static void write_metrics(struct report *r)
{
	const char *path = r->conf->metrics_file;
	struct buf text = { 0 };

	if (!path || r->silent)
		return;
	metrics_text(&r->metrics, r->conf, &text);
	tell_written(&r->metrics_failed, file_replace(path, (struct span){ text.p, text.len }, 0644), "metrics_file", path);
	buf_free(&text);
}

/* The line that systemctl status shows, when it has changed. */
static void send_status(struct report *r)
{
	char status[sizeof r->status];

	if (!r->notified)
		return;
	if (strcmp(r->state.doing, "failing") == 0) {
		char *end = stpcpy(status, "STATUS=failing: ");
		end[text_line(end, 200, span_of(r->state.error))] = 0;          /* as many whole characters */
	} else {
		snprintf(status, sizeof status, "STATUS=%s, %" PRId64 " events since the start", r->state.doing, r->state.events);
	}
	if (strcmp(status, r->status) == 0)
		return;
	memcpy(r->status, status, sizeof status);
	notify_send(status);
}

static void write_due(struct report *r)
{
	if (is_due(&r->state_due_ms, STATE_EVERY_MS)) {
		write_state(r);
		send_status(r);
	}
	if (is_due(&r->metrics_due_ms, METRICS_EVERY_MS))
		write_metrics(r);
}

static void sign_of_life(struct report *r)
{
	if (r->watchdog_ms && is_due(&r->watchdog_due_ms, r->watchdog_ms))
		notify_send("WATCHDOG=1");
}

/* Does anybody want to hear of us while we wait? */
static bool is_watched(const struct report *r)
{
	return r->conf->state_file || r->conf->metrics_file || r->notified;
}

static int64_t longest_wait(const struct report *r, int64_t ms)
{
	int64_t most_ms = r->watchdog_ms && r->watchdog_ms < STATE_EVERY_MS ? r->watchdog_ms : STATE_EVERY_MS;

	return is_watched(r) && most_ms < ms ? most_ms : ms;
}

static void now_doing(struct report *r, const char *doing)
{
	snprintf(r->state.doing, sizeof r->state.doing, "%s", doing);
}

static void went_on(struct report *r)
{
	r->state.progress_ms = clock_ms();
	sign_of_life(r);
}

static void progress(struct report *r, const char *doing)
{
	now_doing(r, doing);
	went_on(r);
}

/* Two processes may run with one config: --once beside a daemon. The first one's files stay its own. */
static void look_for_another(struct report *r, const struct conf *conf)
{
	struct state other;

	r->silent = conf->state_file && state_read(conf->state_file, &other) == 0 && other.pid != r->state.pid &&
		state_is_live(&other);
	if (r->silent)
		log_info("process %d runs with this config: state_file and metrics_file are left to it", other.pid);
}

void report_alive(struct report *r)
{
	if (!r)
		return;
	went_on(r);
	write_due(r);
}

void report_start(struct report *r, const struct conf *conf)
{
	*r = (struct report){ .conf = conf, .notified = notify_wanted(), .watchdog_ms = notify_watchdog_ms() };
	state_of_this_process(&r->state);
	look_for_another(r, conf);
	progress(r, "starting");
	write_due(r);
}

void report_ready(struct report *r)
{
	if (!r->ready)
		notify_send("READY=1");
	r->ready = true;
}

static void leave(const char *path, const char *next, bool not_ours)
{
	if (path && !not_ours && (!next || strcmp(path, next) != 0))
		unlink(path);
}

void report_moves(struct report *r, const struct conf *to)
{
	leave(r->conf->state_file, to->state_file, r->state_failed || r->silent);
	leave(r->conf->metrics_file, to->metrics_file, r->metrics_failed || r->silent);
	look_for_another(r, to);
	r->state_failed = r->metrics_failed = false;
	r->state_due_ms = r->metrics_due_ms = 0;
}

void report_reloading(struct report *r)
{
	struct timespec now;
	char text[80];

	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	notify_send(text);
	r->ready = false;
}

int64_t report_progress(struct report *r, int64_t events, int64_t bytes)
{
	if (!r || !is_watched(r))
		return -1;
	if (r->events != events || r->bytes != bytes)
		progress(r, "loading");
	r->events = events;
	r->bytes = bytes;
	r->state.events = r->metrics.events + events;
	write_due(r);
	return STATE_EVERY_MS;
}

void report_partition(struct report *r)
{
	if (!r)
		return;
	r->metrics.partitions++;
	report_alive(r);
}

void report_batch(struct report *r, const struct load *load, const struct dead_list *dead)
{
	if (!r)
		return;
	metrics_batch(&r->metrics, load);
	for (size_t i = 0; i < dead->n; i++)
		metrics_error(&r->metrics, dead->at[i].sqlstate);
}

void report_success(struct report *r, bool idle)
{
	r->metrics.success_s = time(NULL);
	if (idle && !r->metrics.lag_at_ms)      /* before the first batch; a tick's age is more than that */
		r->metrics.lag_at_ms = clock_ms();
	r->state.events = r->metrics.events;
	progress(r, idle ? "idle" : "loading");
	write_due(r);
}

void report_error(struct report *r, const struct err *e)
{
	metrics_error(&r->metrics, e->sqlstate);
	r->state.events = r->metrics.events;
	r->state.error_at_s = time(NULL);
	r->state.error[text_line(r->state.error, sizeof r->state.error - 1, span_of(e->msg))] = 0;
	now_doing(r, "failing");
}

/* A pause after an error is no progress, but a sign of life: to start us anew would not help. */
void report_sleep(struct report *r, int64_t ms)
{
	bool idle = strcmp(r->state.doing, "idle") == 0;
	int64_t end_ms = clock_ms() + ms;

	for (int64_t left_ms = ms; left_ms > 0; left_ms = end_ms - clock_ms()) {
		if (idle)
			r->state.progress_ms = clock_ms();
		sign_of_life(r);
		write_due(r);
		if (!process_sleep(longest_wait(r, left_ms)))
			return;
	}
}

void report_end(struct report *r, bool failed)
{
	notify_send("STOPPING=1");
	write_metrics(r);
	now_doing(r, "ended");
	if (failed)
		write_state(r);
	else
		leave(r->conf->state_file, NULL, r->state_failed || r->silent);
}
