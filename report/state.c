/*
 * The state file, which lets --health and --status see the running process without asking a server.
 * Its times are of CLOCK_MONOTONIC, which all processes of a machine share and nobody sets. The pid
 * and its start time reveal a file that a killed process left, and with the clock one from before a
 * reboot.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "private.h"

#define FILE_BYTES 4096                 /* an error's text and the rest */
#define RATE_AFTER_MS 2000              /* before that, a rate tells little */
#define LOOK_VALID_MS 30000             /* longest validity of what is known of the ticks */

/* When the process began; 0 when /proc does not tell, -1 when it has ended. */
static int64_t began(int64_t pid)
{
	char path[40], text[1024];
	long long at;
	char how;

	snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", pid);
	if (file_read(path, text, sizeof text) < 0)
		return 0;
	const char *name_end = strrchr(text, ')');
	if (!name_end || sscanf(name_end + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u"
	    " %*d %*d %*d %*d %*d %*d %lld", &how, &at) != 2)
		return 0;
	return how == 'Z' ? -1 : at;
}

void state_begin(struct state *s)
{
	*s = (struct state){
		.pid = getpid(), .began = began(getpid()), .queue = QUEUE_UNKNOWN, .gain = -1,
		.version = TDISPATCH_VERSION,
	};
}

#define AT(member) offsetof(struct state, member), 0
#define TEXT_AT(member) offsetof(struct state, member), sizeof ((struct state *)0)->member

/* A line each: name, blank, value. The order of the first seven is that of earlier versions, which
 * may read the file too; so a line that is not known is passed over. */
static const struct { const char *name; size_t at, size; } lines[] = {
	{ "pid", AT(pid) }, { "began", AT(began) }, { "doing", TEXT_AT(doing) },
	{ "progress_ms", AT(progress_ms) }, { "events", AT(events) },
	{ "error_at", AT(error_at_s) }, { "error", TEXT_AT(error) },
	{ "failing_ms", AT(failing_ms) }, { "error_over", AT(error_over_s) },
	{ "error_lasted_ms", AT(error_lasted_ms) }, { "lag_ms", AT(queue.lag_ms) },
	{ "lag_at_ms", AT(lag_at_ms) }, { "looked_ms", AT(looked_ms) },
	{ "looked_events", AT(looked_events) }, { "pending_events", AT(queue.events) },
	{ "waiting_ms", AT(queue.waiting_ms) }, { "newest_tick_ms", AT(queue.newest_ms) },
	{ "overdue_ms", AT(queue.overdue_ms) }, { "unticked_events", AT(queue.unticked) },
	{ "gain", AT(gain) }, { "batch_ms", AT(batch_ms) }, { "from_tick", AT(from_tick) },
	{ "to_tick", AT(to_tick) }, { "stopping", AT(stopping) }, { "version", TEXT_AT(version) },
	{ "gain", AT(gain) }, { "config", TEXT_AT(config) },
	{ "consumer_name", TEXT_AT(consumer_name) }, { "queue_name", TEXT_AT(queue_name) },
};

#define LINES (sizeof lines / sizeof *lines)

int state_write(const char *path, const struct state *s)
{
	struct buf text = { 0 };

	for (size_t i = 0; i < LINES; i++) {
		const void *at = (const char *)s + lines[i].at;
		if (lines[i].size)
			buf_fmt(&text, "%s %s\n", lines[i].name, (const char *)at);
		else
			buf_fmt(&text, "%s %" PRId64 "\n", lines[i].name, *(const int64_t *)at);
	}
	int rc = file_replace(path, (struct span){ text.p, text.len }, 0640);
	buf_free(&text);
	return rc;
}

static void read_line(struct state *s, const char *line, size_t n)
{
	for (size_t i = 0; i < LINES; i++) {
		size_t name = strlen(lines[i].name);
		void *at = (char *)s + lines[i].at;
		if (n <= name || strncmp(line, lines[i].name, name) != 0 || line[name] != ' ')
			continue;
		if (lines[i].size)
			snprintf(at, lines[i].size, "%.*s", (int)(n - name - 1), line + name + 1);
		else
			*(int64_t *)at = strtoll(line + name + 1, NULL, 10);
	}
}

int state_read(const char *path, struct state *s)
{
	char text[FILE_BYTES];

	*s = (struct state){ .queue = QUEUE_UNKNOWN, .gain = -1 };
	if (file_read(path, text, sizeof text) < 0)
		return -1;
	for (const char *line = text; *line; line += strspn(line, "\n")) {
		size_t n = strcspn(line, "\n");
		read_line(s, line, n);
		line += n;
	}
	if (s->pid > 0 && s->pid <= INT32_MAX && *s->doing)
		return 0;
	errno = EINVAL;
	return -1;
}

bool state_is_live(const struct state *s)
{
	if (s->pid <= 0 || strcmp(s->doing, "ended") == 0 || s->progress_ms > clock_ms() ||
	    (kill((pid_t)s->pid, 0) < 0 && errno != EPERM))
		return false;
	int64_t at = began(s->pid);
	return at == s->began || !at || (at > 0 && !s->began);
}

/* How old the newest tick is now, if there is none newer. But a ticker that was running has not
 * stopped because nobody has looked since. */
static int64_t newest(const struct queue_backlog *q, int64_t since_ms)
{
	bool stopped = q->overdue_ms >= 0 && q->newest_ms > q->overdue_ms;
	int64_t ms = q->newest_ms + since_ms;

	return q->overdue_ms < 0 || stopped || ms < q->overdue_ms ? ms : q->overdue_ms;
}

/* ---- whose it is */

void state_name(struct state *s, const struct conf *c)
{
	char *path = realpath(c->file, NULL);

	snprintf(s->config, sizeof s->config, "%s", path ? path : c->file);
	snprintf(s->consumer_name, sizeof s->consumer_name, "%s", c->consumer_name);
	snprintf(s->queue_name, sizeof s->queue_name, "%s", c->queue_name);
	free(path);
}

bool state_is_anothers(const struct conf *c, int pid, char *why, size_t why_size)
{
	struct state mine = { 0 }, its;

	if (!c->state_file || !c->consumer_name || !c->queue_name ||
	    state_read(c->state_file, &its) < 0 || its.pid != pid || !*its.config)
		return false;
	state_name(&mine, c);
	if (strcmp(its.config, mine.config) == 0 ||
	    (strcmp(its.consumer_name, mine.consumer_name) == 0 &&
	     strcmp(its.queue_name, mine.queue_name) == 0))
		return false;
	snprintf(why, why_size, "process %d, which holds pidfile %s, runs with another config, %s,"
		" for consumer %s of queue %s: give this one a pidfile of its own", pid,
		c->pidfile, its.config, its.consumer_name, its.queue_name);
	return true;
}

/* What is known of the backlog, without what was loaded since. */
static struct queue_backlog backlog(const struct state *s, int64_t now_ms)
{
	struct queue_backlog q = s->queue;
	int64_t since_ms = now_ms - s->looked_ms;

	if (q.lag_ms >= 0)
		q.lag_ms += now_ms - s->lag_at_ms;
	if (q.waiting_ms > 0)
		q.waiting_ms += since_ms;
	if (q.lag_ms >= 0 && q.waiting_ms > q.lag_ms)
		q.waiting_ms = q.lag_ms;
	if (q.events > 0) {
		q.events -= s->events - s->looked_events;
		q.events = q.events > 0 ? q.events : 1; /* it was an estimate */
	}
	if (!s->looked_ms || since_ms > LOOK_VALID_MS)
		q.newest_ms = q.unticked = -1;
	else if (q.newest_ms >= 0)
		q.newest_ms = newest(&q, since_ms);
	return q;
}

struct health state_health(const struct state *s)
{
	int64_t now_ms = clock_ms(), since_ms = now_ms - s->looked_ms;
	bool live = state_is_live(s), failing = s->failing_ms > 0;
	struct health h = {
		.pid = live ? s->pid : 0, .doing = s->doing,
		.still_ms = live ? now_ms - s->progress_ms : -1,
		.failing_ms = live && failing ? now_ms - s->failing_ms : -1,
		.error = live || failing ? s->error : "", .queue = backlog(s, now_ms),
		.rate = s->gain, .gains = s->gain >= 0, .stopping = s->stopping,
		.from_tick = s->from_tick, .to_tick = s->to_tick,
		.batch_ms = live && s->batch_ms > 0 ? now_ms - s->batch_ms : -1,
	};

	if (!live)
		h.queue = (struct queue_backlog)QUEUE_UNKNOWN;
	if (!h.gains && s->looked_ms && since_ms >= RATE_AFTER_MS)
		h.rate = (s->events - s->looked_events) * 1000 / since_ms;
	if (!h.gains && h.rate == 0)
		h.rate = -1;
	return h;
}

bool state_healthy(const char *path, int64_t stall_ms, int64_t lag_limit_ms, struct buf *line)
{
	struct state s;

	if (state_read(path, &s) == 0) {
		struct health h = state_health(&s);
		return health_line(&h, stall_ms, lag_limit_ms, line);
	}
	if (errno == ENOENT)
		buf_fmt(line, "no process runs: there is no state file %s", path);
	else
		buf_fmt(line, "cannot read state file %s: %s", path,
			errno == EINVAL ? "it is none" : strerror(errno));
	return false;
}
