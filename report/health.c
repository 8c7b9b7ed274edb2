/*
 * Is all well, and if not, what is wrong? One line, for --status and --health, worked out from what
 * is known: by the running process, or by asking the servers. Pure.
 */
#include <inttypes.h>

#include "report.h"

#define STILL_MS 30000                  /* from here on, no progress is worth a word */
#define BEHIND_MS 10000                 /* ticks that wait for longer are not just on their way */
#define MINUTE_MS 60000

int64_t health_remind_ms(int n)
{
	static const int64_t minutes[] = { 1, 5, 15, 60 };
	int known = sizeof minutes / sizeof *minutes;

	return MINUTE_MS * (n < known ? minutes[n] : 60 * (n - known + 2));
}

static void add_number(struct buf *line, const char *before, int64_t n, const char *after)
{
	char text[TEXT_GROUPED];

	buf_fmt(line, "%s%s%s", before, text_grouped(n, text), after);
}

static void add_events(struct buf *line, const char *before, int64_t n)
{
	add_number(line, before, n, n == 1 ? " event" : " events");
}

/* Whole seconds, or with a tenth where they are few. */
static void add_seconds(struct buf *line, const char *before, int64_t ms, const char *after)
{
	if (ms < 10000)
		buf_fmt(line, "%s%.1f s%s", before, (double)ms / 1000, after);
	else
		buf_fmt(line, "%s%" PRId64 " s%s", before, ms / 1000, after);
}

static void add_stall(struct buf *line, int64_t ms)
{
	buf_fmt(line, " (--health fails after %" PRId64 " s)", ms / 1000);
}

bool health_no_ticks(const struct queue_backlog *q, const char *before, struct buf *line)
{
	if (q->newest_ms < 0 || q->overdue_ms < 0 || q->newest_ms <= q->overdue_ms)
		return false;
	add_seconds(line, before, q->newest_ms, ": ");
	buf_str(line, q->paused ? "the queue's ticker is paused" :
		"does a ticker run (ticker = 1, pgqd or pg_cron)?");
	if (q->unticked > 0)
		add_events(line, " It would bring ", q->unticked);
	return true;
}

static void no_process(const struct health *h, struct buf *line)
{
	buf_str(line, "no process runs");
	if (*h->error)
		buf_fmt(line, "; the last one failed: %s", h->error);
	if (h->queue.events > 0) {
		add_events(line, "; ", h->queue.events);
		buf_str(line, h->queue.events == 1 ? " waits" : " wait");
	}
}

static void failing(const struct health *h, int64_t stall_ms, struct buf *line)
{
	add_seconds(line, "FAILING for ", h->failing_ms, "");
	add_stall(line, stall_ms);
	buf_fmt(line, ": %s", h->error);
}

static void still(const struct health *h, int64_t stall_ms, struct buf *line)
{
	buf_fmt(line, "NOT MOVING: process %" PRId64 " is %s, without progress for", h->pid,
		h->doing);
	add_seconds(line, " ", h->still_ms, "");
	add_stall(line, stall_ms);
}

/* Seconds until the backlog is loaded; -1: unknown. */
static int64_t seconds_to_go(const struct health *h)
{
	return h->rate > 0 ? h->queue.events / h->rate : -1;
}

static void behind(const struct health *h, struct buf *line)
{
	int64_t left_s = seconds_to_go(h);

	add_events(line, "BEHIND: about ", h->queue.events);
	add_seconds(line, " by PgQ's estimate, ", h->queue.lag_ms, "");
	if (h->rate == 0)
		buf_str(line, ", not catching up");
	if (left_s < 0)
		return;
	add_number(line, h->gains ? ", catching up at " : ", loading ", h->rate, "/s");
	buf_fmt(line, ": about %" PRId64 " s", left_s > 0 ? left_s : 1);
}

static void at_hand(const struct health *h, struct buf *line)
{
	buf_fmt(line, "OK: %s ticks %" PRId64 "-%" PRId64 " for", h->stopping ?
		"stopping: finishes its batch," : "loading", h->from_tick, h->to_tick);
	add_seconds(line, " ", h->batch_ms, "");
}

/* Without pidfile and state_file: of the queue and the target alone. */
static void unwatched(const struct queue_backlog *q, struct buf *line)
{
	if (q->newest_ms >= 0 && q->events == 0 && q->unticked == 0)
		buf_str(line, "nothing waits; ");
	else if (q->lag_ms >= 0)
		add_seconds(line, "", q->lag_ms, " behind; ");
	buf_str(line, "whether a process runs is not known: set pidfile or state_file");
}

/* The ticker may be slow, or have stopped not long ago. */
static void await_tick(const struct queue_backlog *q, struct buf *line)
{
	add_events(line, "OK: ", q->unticked);
	buf_str(line, q->unticked == 1 ? " waits" : " wait");
	add_seconds(line, " for a tick, the newest is ", q->newest_ms, " old");
}

static void all_well(const struct health *h, struct buf *line)
{
	const struct queue_backlog *q = &h->queue;

	if (h->pid < 0)
		unwatched(q, line);
	else if (h->batch_ms >= 0)
		at_hand(h, line);
	else if (q->newest_ms >= 0 && q->events == 0 && q->unticked == 0)
		add_seconds(line, "OK: nothing waits, the newest tick is ", q->newest_ms, " old");
	else if (q->events == 0 && q->unticked > 0 && q->newest_ms > BEHIND_MS)
		await_tick(q, line);
	else if (q->lag_ms >= 0)
		add_seconds(line, "OK: ", q->lag_ms, " behind");
	else
		buf_fmt(line, "OK: process %" PRId64 " is %s", h->pid, h->doing);
}

static void add_lag(const struct health *h, const char *before, int64_t limit_ms, struct buf *line)
{
	add_seconds(line, before, h->queue.lag_ms, "");
	buf_fmt(line, " (limit %" PRId64 " s)", limit_ms / 1000);
}

/* Nothing is wrong but that the limit is exceeded. */
static void well_or_late(const struct health *h, int64_t lag_limit_ms, struct buf *line)
{
	if (lag_limit_ms && h->queue.lag_ms > lag_limit_ms)
		add_lag(h, "TOO FAR BEHIND: lag ", lag_limit_ms, line);
	else
		all_well(h, line);
}

/* true: the lag is said. */
static bool say(const struct health *h, int64_t stall_ms, int64_t lag_limit_ms, struct buf *line)
{
	if (h->pid == 0)
		no_process(h, line);
	else if (h->failing_ms >= 0)
		failing(h, stall_ms, line);
	else if (h->still_ms > (stall_ms < STILL_MS ? stall_ms : STILL_MS))
		still(h, stall_ms, line);
	else if (!health_no_ticks(&h->queue, "NOT MOVING: no tick for ", line)) {
		if (h->queue.events <= 0 || h->queue.waiting_ms <= BEHIND_MS) {
			well_or_late(h, lag_limit_ms, line);
			return true;
		}
		behind(h, line);
	}
	return false;
}

bool health_line(const struct health *h, int64_t stall_ms, int64_t lag_limit_ms, struct buf *line)
{
	bool late = lag_limit_ms && h->queue.lag_ms > lag_limit_ms;

	if (!say(h, stall_ms, lag_limit_ms, line) && late)
		add_lag(h, "; lag ", lag_limit_ms, line);
	return h->pid != 0 && h->still_ms <= stall_ms && !late;
}
