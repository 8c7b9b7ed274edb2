/*
 * Reports of a running process, updated wherever it makes progress: the state file at most once a
 * second, the metrics file less often, and systemd. A file that cannot be written does not stop the
 * loading of rows. What is not configured costs nothing.
 *
 * systemd gets notifications, one datagram each to the socket in NOTIFY_SOCKET; without it, none.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "private.h"

/* ---- systemd */

#define SEND_TIMEOUT_S 1                /* a manager that does not read must not block us */

static bool notify_wanted(void)
{
	const char *path = getenv("NOTIFY_SOCKET");

	return path && *path;
}

/* '@' stands for the first byte of a name in the abstract namespace, which is no C string. 0 when
 * it is neither such a name nor a path, or too long for one. */
static socklen_t address_of(struct sockaddr_un *address, const char *path)
{
	size_t n = strlen(path);

	if ((*path != '/' && *path != '@') || n >= sizeof address->sun_path)
		return 0;
	memcpy(address->sun_path, path, n);
	if (*path == '@')
		address->sun_path[0] = 0;
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
}

/* text: "READY=1"; newlines between more than one. */
static void notify(const char *text)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval timeout = { .tv_sec = SEND_TIMEOUT_S };
	socklen_t n = notify_wanted() ? address_of(&address, getenv("NOTIFY_SOCKET")) : 0;
	int fd = n ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
	if (sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&address, n) < 0)
		log_debug("NOTIFY_SOCKET: cannot send %s", text);
	close(fd);
}

/* The pause between two "WATCHDOG=1"; 0: none is wanted. */
static int64_t watchdog_pause_ms(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

	if (!notify_wanted() || !usec || (pid && strtoll(pid, NULL, 10) != getpid()))
		return 0;
	int64_t half_ms = strtoll(usec, NULL, 10) / 2000;
	return half_ms > 0 ? half_ms : 0;
}

/* ---- the report */

#define STATE_EVERY_MS 1000
#define METRICS_EVERY_MS 5000

bool report_is_due(int64_t *next_ms, int64_t every_ms)
{
	int64_t now_ms = clock_ms();

	if (now_ms < *next_ms)
		return false;
	*next_ms = now_ms + every_ms;
	return true;
}

/* Warns of a write failure once, and again only after a success. */
static void tell_written(bool *failed, int rc, const char *key, const char *path)
{
	if (rc < 0 && !*failed)
		log_warn("cannot write %s %s: %s%s", key, path,
			errno == ELOOP ? "it is a symbolic link" :
			errno == EINVAL ? "it is no regular file" : strerror(errno),
			errno == EROFS && strcmp(key, "state_file") == 0 ?
			": mount a tmpfs there; --health will fail" : "");
	*failed = rc < 0;
}

static void write_state(struct report *r)
{
	const char *path = r->conf->state_file;

	if (path && !r->silent)
		tell_written(&r->state_failed, state_write(path, &r->state), "state_file", path);
}

static void render_metrics(const struct report *r, struct buf *text)
{
	struct health health = state_health(&r->state);

	if (r->over)
		health.pid = 0;
	metrics_text(&r->metrics, &health, r->conf, text);
}

static void write_metrics(struct report *r)
{
	const char *path = r->conf->metrics_file;
	struct buf text = { 0 };

	if (!path || r->silent)
		return;
	render_metrics(r, &text);
	int rc = file_replace(path, (struct span){ text.p, text.len }, 0644);
	tell_written(&r->metrics_failed, rc, "metrics_file", path);
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
		/* only whole characters */
		end[text_line(end, 200, span_of(r->state.error))] = 0;
	} else {
		snprintf(status, sizeof status, "STATUS=%s, %" PRId64 " events since the start",
			r->state.doing, r->state.events);
	}
	if (strcmp(status, r->status) == 0)
		return;
	memcpy(r->status, status, sizeof status);
	notify(status);
}

static void publish(struct report *r)
{
	struct buf text = { 0 };

	if (!r->listen || !listen_is_open(r->listen))
		return;
	render_metrics(r, &text);
	listen_publish(r->listen, (struct span){ text.p, text.len }, &r->state);
	buf_free(&text);
}

static void write_due(struct report *r)
{
	if (report_is_due(&r->state_due_ms, STATE_EVERY_MS)) {
		write_state(r);
		publish(r);
		send_status(r);
	}
	if (report_is_due(&r->metrics_due_ms, METRICS_EVERY_MS))
		write_metrics(r);
}

static void sign_of_life(struct report *r)
{
	if (r->watchdog_ms && report_is_due(&r->watchdog_due_ms, r->watchdog_ms))
		notify("WATCHDOG=1");
}

/* Does anybody want to hear of us while we wait? */
static bool is_watched(const struct report *r)
{
	return r->conf->state_file || r->conf->metrics_file || r->notified || r->listen;
}

static int64_t longest_wait(const struct report *r, int64_t ms)
{
	int64_t most_ms = STATE_EVERY_MS;

	if (r->watchdog_ms && r->watchdog_ms < most_ms)
		most_ms = r->watchdog_ms;

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

/* Two processes may run with one config: --once beside a daemon. The second leaves the files to the
 * first. */
static void look_for_another(struct report *r, const struct conf *conf)
{
	struct state other;

	r->silent = conf->state_file && state_read(conf->state_file, &other) == 0 &&
		other.pid != r->state.pid && state_is_live(&other);
	if (r->silent)
		log_info("process %" PRId64 " runs with this config: state_file and metrics_file"
			" are left to it", other.pid);
}

void report_alive(struct report *r)
{
	went_on(r);
	write_due(r);
}

void report_start(struct report *r, const struct conf *conf)
{
	*r = (struct report){
		.conf = conf, .notified = notify_wanted(), .watchdog_ms = watchdog_pause_ms(),
	};
	r->metrics.dead_waiting = -1;
	state_begin(&r->state);
	state_name(&r->state, conf);
	look_for_another(r, conf);
	progress(r, "starting");
	write_due(r);
}

void report_listen(struct report *r, struct listen *l)
{
	r->listen = l;
	publish(r);
}

void report_ready(struct report *r)
{
	if (!r->ready)
		notify("READY=1");
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
	state_name(&r->state, to);
	look_for_another(r, to);
	r->state.queue = (struct queue_backlog)QUEUE_UNKNOWN;   /* it may be another queue */
	r->state.looked_ms = 0;
	r->state.gain = r->metrics.dead_waiting = -1;
	r->state_failed = r->metrics_failed = false;
	r->state_due_ms = r->metrics_due_ms = 0;
}

void report_reloading(struct report *r)
{
	struct timespec now;
	char text[80];

	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
		(int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	notify(text);
	r->ready = false;
}

int64_t report_progress(struct report *r, int64_t events, int64_t bytes)
{
	if (!is_watched(r))
		return -1;
	if (r->events != events || r->bytes != bytes)
		progress(r, "loading");
	r->events = events;
	r->bytes = bytes;
	r->state.events = r->metrics.events + events;
	write_due(r);
	return STATE_EVERY_MS;
}

/* Whoever looks while the batch waits must not see an idle process. */
void report_begin(struct report *r, const struct queue_batch *b)
{
	struct state *s = &r->state;

	if (strcmp(s->doing, "idle") == 0)
		r->state_due_ms = 0;
	if (strcmp(s->doing, "failing") != 0)
		now_doing(r, "loading");
	s->batch_ms = clock_ms();
	s->from_tick = b->prev_tick;
	s->to_tick = b->tick;
	write_due(r);
}

void report_stopping(struct report *r)
{
	r->state.stopping = 1;
	r->state_due_ms = 0;
	write_due(r);
}

void report_partition(struct report *r)
{
	r->metrics.partitions++;
	report_alive(r);
}

static bool all_is_loaded(const struct report *r, const struct load *load)
{
	const struct queue_backlog *q = &r->state.queue;

	return q->newest_tick >= 0 && load->tick >= q->newest_tick;
}

void report_batch(struct report *r, const struct load *load, const struct letters *dead)
{
	struct queue_backlog *q = &r->state.queue;

	metrics_batch(&r->metrics, load);
	for (size_t i = 0; i < dead->n; i++)
		metrics_error(&r->metrics, dead->at[i].sqlstate);
	/* less: the source's clock was set back */
	q->lag_ms = load->lag_ms > 0 ? load->lag_ms : 0;
	r->state.lag_at_ms = clock_ms();
	if (all_is_loaded(r, load))
		q->events = q->waiting_ms = 0;
}

void report_queue(struct report *r, const struct queue_backlog *q)
{
	struct state *s = &r->state;
	int64_t now_ms = clock_ms(), took_ms = now_ms - s->looked_ms;

	s->gain = -1;
	if (s->looked_ms && s->queue.events > 0 && q->events > 0 && took_ms > 0) {
		int64_t fewer = s->queue.events - q->events;
		s->gain = fewer > 0 ? fewer * 1000 / took_ms : 0;
	}
	s->queue = *q;
	s->looked_ms = s->lag_at_ms = now_ms;
	s->looked_events = s->events;
}

void report_dead(struct report *r, int64_t letters)
{
	r->metrics.dead_waiting = letters;
}

static void error_is_over(struct state *s)
{
	if (!s->failing_ms)
		return;
	s->error_over_s = time(NULL);
	s->error_lasted_ms = clock_ms() - s->failing_ms;
	s->failing_ms = 0;
}

void report_success(struct report *r, bool idle)
{
	r->metrics.success_s = time(NULL);
	r->state.events = r->metrics.events;
	r->state.batch_ms = 0;
	error_is_over(&r->state);
	if (idle && r->state.looked_ms)
		r->state.queue.events = r->state.queue.waiting_ms = 0;
	progress(r, idle ? "idle" : "loading");
	write_due(r);
}

void report_error(struct report *r, const struct err *e, bool again)
{
	struct state *s = &r->state;

	metrics_error(&r->metrics, e->sqlstate);
	if (again)
		metrics_retry(&r->metrics, e->code);
	s->events = r->metrics.events;
	s->batch_ms = 0;
	s->error_at_s = time(NULL);
	s->error_over_s = s->error_lasted_ms = 0;
	s->error[text_line(s->error, sizeof s->error - 1, span_of(e->msg))] = 0;
	if (!s->failing_ms)
		s->failing_ms = clock_ms();
	now_doing(r, "failing");
}

/* A pause after an error is not progress, but a sign of life: a restart would not help. */
void report_sleep(struct report *r, const int *fd, unsigned n, int64_t ms)
{
	bool idle = strcmp(r->state.doing, "idle") == 0;
	int64_t end_ms = clock_ms() + ms;

	for (int64_t left_ms = ms; left_ms > 0; left_ms = end_ms - clock_ms()) {
		if (idle)
			r->state.progress_ms = clock_ms();
		sign_of_life(r);
		write_due(r);
		if (!process_sleep_on(fd, n, longest_wait(r, left_ms)))
			return;
	}
}

void report_end(struct report *r, bool failed)
{
	notify("STOPPING=1");
	r->over = true;
	write_metrics(r);
	now_doing(r, "ended");
	if (failed)
		write_state(r);
	else
		leave(r->conf->state_file, NULL, r->state_failed || r->silent);
	metrics_free(&r->metrics);
}
