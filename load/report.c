/*
 * Reports of a running process, updated wherever it makes progress: the state file at most once a
 * second, the metrics file less often, and systemd. A file that cannot be written does not stop the
 * loading of rows. What is not configured costs nothing.
 *
 * The state file lets --health and --status see the running process without asking a server. Its
 * times are of CLOCK_MONOTONIC, which all processes of a machine share and nobody sets. The pid and
 * its start time reveal a file that a killed process left, and with the clock one from before a
 * reboot.
 *
 * systemd gets notifications, one datagram each to the socket in NOTIFY_SOCKET; without it, none.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

/* ---- the state file */

#define FILE_BYTES 2048                 /* an error's text and the rest */

/* When the process began; 0 when /proc does not tell, -1 when it has ended. */
static int64_t began(int pid)
{
	char path[40], text[1024];
	long long at;
	char how;

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	if (file_read(path, text, sizeof text) < 0)
		return 0;
	const char *name_end = strrchr(text, ')');
	if (!name_end || sscanf(name_end + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %lld",
	    &how, &at) != 2)
		return 0;
	return how == 'Z' ? -1 : at;
}

static void state_of_this_process(struct report_state *s)
{
	*s = (struct report_state){ .pid = getpid(), .began = began(getpid()) };
}

static int state_write(const char *path, const struct report_state *s)
{
	char text[FILE_BYTES];

	int n = snprintf(text, sizeof text, "pid %d\nbegan %" PRId64 "\ndoing %s\nprogress_ms %" PRId64 "\nevents %" PRId64 "\nerror_at %" PRId64
		"\nerror %s\n", s->pid, s->began, s->doing, s->progress_ms, s->events, s->error_at_s, s->error);
	return file_replace(path, (struct span){ text, (size_t)n }, 0640);
}

int report_read(const char *path, struct report_state *s)
{
	char text[FILE_BYTES];

	*s = (struct report_state){ 0 };
	if (file_read(path, text, sizeof text) < 0)
		return -1;
	if (sscanf(text, "pid %d began %" SCNd64 " doing %15s progress_ms %" SCNd64 " events %" SCNd64 " error_at %" SCNd64 " error %1023[^\n]",
	    &s->pid, &s->began, s->doing, &s->progress_ms, &s->events, &s->error_at_s, s->error) < 6 || s->pid <= 0) {
		errno = EINVAL;
		return -1;
	}
	return 0;
}

bool report_is_live(const struct report_state *s)
{
	if (s->pid <= 0 || strcmp(s->doing, "ended") == 0 || s->progress_ms > clock_ms() ||
	    (kill(s->pid, 0) < 0 && errno != EPERM))
		return false;
	int64_t at = began(s->pid);
	return at == s->began || !at || (at > 0 && !s->began);
}

bool report_healthy(const char *path, int64_t limit_ms, struct buf *line)
{
	struct report_state s;

	if (report_read(path, &s) < 0) {
		if (errno == ENOENT)
			buf_fmt(line, "it is not running: there is no state file %s", path);
		else
			buf_fmt(line, "cannot read state file %s: %s", path, errno == EINVAL ? "it is none" : strerror(errno));
		return false;
	}
	int64_t age_ms = clock_ms() - s.progress_ms;
	bool live = report_is_live(&s), late = age_ms > limit_ms;
	if (!live)
		buf_fmt(line, "process %d does not run any more", s.pid);
	else if (late)
		buf_fmt(line, "process %d is %s, without progress for %.1f s", s.pid, s.doing, (double)age_ms / 1000);
	else
		buf_fmt(line, "process %d is %s, progress %.1f s ago", s.pid, s.doing, (double)age_ms / 1000);
	if (*s.error && (!live || strcmp(s.doing, "failing") == 0))
		buf_fmt(line, "; last error: %s", s.error);
	return live && !late;
}

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

static bool is_due(int64_t *next_ms, int64_t every_ms)
{
	int64_t now_ms = clock_ms();

	if (now_ms < *next_ms)
		return false;
	*next_ms = now_ms + every_ms;
	return true;
}

/* Warns once, and again only after it has worked in between. */
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
		end[text_line(end, 200, span_of(r->state.error))] = 0;          /* only whole characters */
	} else {
		snprintf(status, sizeof status, "STATUS=%s, %" PRId64 " events since the start", r->state.doing, r->state.events);
	}
	if (strcmp(status, r->status) == 0)
		return;
	memcpy(r->status, status, sizeof status);
	notify(status);
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
		notify("WATCHDOG=1");
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

/* Two processes may run with one config: --once beside a daemon. The first one's files stay its
 * own. */
static void look_for_another(struct report *r, const struct conf *conf)
{
	struct report_state other;

	r->silent = conf->state_file && report_read(conf->state_file, &other) == 0 && other.pid != r->state.pid &&
		report_is_live(&other);
	if (r->silent)
		log_info("process %d runs with this config: state_file and metrics_file are left to it", other.pid);
}

void report_alive(struct report *r)
{
	went_on(r);
	write_due(r);
}

void report_start(struct report *r, const struct conf *conf)
{
	*r = (struct report){ .conf = conf, .notified = notify_wanted(), .watchdog_ms = watchdog_pause_ms() };
	state_of_this_process(&r->state);
	look_for_another(r, conf);
	progress(r, "starting");
	write_due(r);
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

void report_partition(struct report *r)
{
	r->metrics.partitions++;
	report_alive(r);
}

void report_batch(struct report *r, const struct load *load, const struct dead_list *dead)
{
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

/* A pause after an error is not progress, but a sign of life: a restart would not help. */
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
	notify("STOPPING=1");
	write_metrics(r);
	now_doing(r, "ended");
	if (failed)
		write_state(r);
	else
		leave(r->conf->state_file, NULL, r->state_failed || r->silent);
}
