/*
 * One face for what others see of a run: report, for other processes, and progress, for whoever is
 * watching. The rest of the program calls only this.
 */
#include <inttypes.h>

#include "private.h"

void watch_start(struct watch *w, const struct conf *conf)
{
	report_start(&w->report, conf);
	w->sum_ms = clock_ms();
}

void watch_show(struct watch *w, enum progress_kind kind, bool verify)
{
	progress_begin(&w->progress, kind, verify);
	w->shown = true;
}

void watch_moves(struct watch *w, const struct conf *to)
{
	report_moves(&w->report, to);
	w->look_due_ms = w->dead_due_ms = w->no_ticks_ms = 0;
}

/* The smaller of two limits in ms; negative: no limit. */
static int64_t sooner(int64_t a, int64_t b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

static void tell_stopping(struct watch *w)
{
	if (w->stopping || !process_stop_after_batch())
		return;
	w->stopping = true;
	report_stopping(&w->report);
	log_warn("finishing this batch; again: stop now, this batch is rolled back");
}

int64_t watch_pass(struct watch *w, int64_t events, int64_t bytes)
{
	if (!w)
		return -1;
	tell_stopping(w);
	ticker_tend(w->ticker);
	return sooner(w->shown ? progress_show(&w->progress, events) : -1,
		report_progress(&w->report, events, bytes));
}

void watch_begin(struct watch *w, const struct queue_batch *b)
{
	if (w)
		report_begin(&w->report, b);
}

void watch_verify(struct watch *w, bool on)
{
	if (w)
		w->progress.verifying = on;
}

void watch_slice(struct watch *w, int64_t bytes, int64_t bytes_total, int64_t slice_bytes,
	int64_t slice_rows)
{
	if (w)
		progress_slice(&w->progress, bytes, bytes_total, slice_bytes, slice_rows);
}

void watch_alive(struct watch *w)
{
	if (w)
		report_alive(&w->report);
}

void watch_partition(struct watch *w, struct span name, bool ahead)
{
	log_info("created partition %.*s%s", (int)name.n, name.p, ahead ? " ahead of time" : "");
	if (!w)
		return;
	w->parts += !ahead;
	w->progress.parts++;
	report_partition(&w->report);
}

int64_t watch_partitions(const struct watch *w)
{
	return w ? w->parts : 0;
}

/* ---- the queue, between two batches */

#define LOOK_EVERY_MS 10000
#define DEAD_EVERY_MS 60000

/* A new user's queue may never have had a ticker: says so long before a stop would be told. */
static void hint_at_ticks(struct watch *w, const struct queue_backlog *q)
{
	if (w->hinted || w->report.metrics.batches || q->unticked <= 0 ||
	    q->newest_ms < LOOK_EVERY_MS)
		return;
	w->hinted = true;
	log_info("queue %s: events wait for a tick, the last was made %" PRId64 " s ago: does a"
		" ticker run (ticker = 1, pgqd or pg_cron)?", w->report.conf->queue_name,
		q->newest_ms / 1000);
}

/* Logs when the ticker stops, reminders while it stays stopped, and when it ticks again. */
static void tell_ticks(struct watch *w, const struct queue_backlog *q)
{
	const char *queue = w->report.conf->queue_name;
	struct buf why = { 0 };
	int64_t now_ms = clock_ms(), lasted_ms = now_ms - w->no_ticks_ms;

	if (!health_no_ticks(q, "no tick for ", &why)) {
		if (w->no_ticks_ms && q->newest_ms >= 0)
			log_info("queue %s ticks again, after %" PRId64 " s", queue,
				lasted_ms / 1000);
		if (q->newest_ms >= 0)
			w->no_ticks_ms = 0;
		hint_at_ticks(w, q);
	} else if (!w->no_ticks_ms) {
		log_warn("queue %s: %s", queue, buf_cstr(&why));
		w->no_ticks_ms = now_ms - q->newest_ms > 0 ? now_ms - q->newest_ms : 1;
		w->reminders = 0;
		while (health_remind_ms(w->reminders) <= q->newest_ms)
			w->reminders++;
	} else if (lasted_ms >= health_remind_ms(w->reminders)) {
		log_warn("queue %s: still %s", queue, buf_cstr(&why));
		w->reminders++;
	}
	buf_free(&why);
}

/* What cannot be asked for lack of rights is unknown; a lost connection is an error. */
static int unless_lost(struct pq *q, struct err *e)
{
	if (!e->code || sqlstate_is_lost(e))
		return e->code;
	log_debug("%s", e->msg);
	*e = (struct err){ 0 };
	return pq_query(q, "ROLLBACK", e);
}

int watch_look(struct watch *w, struct pq *src, struct pq *dst, int64_t tick, struct err *e)
{
	const struct conf *c = w->report.conf;
	struct queue_backlog now = QUEUE_UNKNOWN;
	int64_t letters = -1;

	if (report_is_due(&w->look_due_ms, LOOK_EVERY_MS)) {
		queue_backlog(src, c->queue_name, c->consumer_name, tick, &now, e);
		if (unless_lost(src, e) < 0)
			return e->code;
		report_queue(&w->report, &now);
		if (!w->progress.batches)
			w->progress.total = now.events;
		tell_ticks(w, &now);
	}
	if (c->on_error != ON_ERROR_DEAD_LETTER || !report_is_due(&w->dead_due_ms, DEAD_EVERY_MS))
		return 0;
	if (dead_count(dst, c, &letters, e) < 0)
		letters = -1;
	report_dead(&w->report, letters);
	return unless_lost(dst, e);
}

/* ---- batches */

static void add_load(struct load *sum, const struct load *load)
{
	sum->events += load->events;
	sum->rows += load->rows;
	sum->passed += load->passed;
	sum->partitions += load->partitions;
	sum->took_ms += load->took_ms;
	sum->lag_ms = load->lag_ms;
}

/* The line of log_interval, in place of one a batch. */
static void tell_sum(struct watch *w)
{
	int64_t now_ms = clock_ms();
	const struct load *sum = &w->sum;

	struct buf passed = { 0 };

	if (sum->passed)
		buf_fmt(&passed, " passed=%" PRId64, sum->passed);
	if (sum->events)
		log_info("queue %s in %.0f s: batches=%" PRId64 " events=%" PRId64 " rows=%" PRId64
			" partitions_created=%" PRId64 " seconds=%.3f lag=%.1f%s",
			w->report.conf->queue_name, (double)(now_ms - w->sum_ms) / 1000,
			w->batches, sum->events, sum->rows, sum->partitions,
			(double)sum->took_ms / 1000, (double)sum->lag_ms / 1000,
			buf_cstr(&passed));
	buf_free(&passed);
	w->sum = (struct load){ 0 };
	w->batches = 0;
	w->sum_ms = now_ms;
}

static void tell_sum_if_due(struct watch *w)
{
	int64_t every_ms = w->report.conf->log_interval;

	if (every_ms && clock_ms() - w->sum_ms >= every_ms)
		tell_sum(w);
}

void watch_batch(struct watch *w, const struct load *load, const struct tally *rows,
	const struct letters *dead)
{
	if (!w)
		return;
	w->parts = 0;
	if (dead->n)
		w->dead_due_ms = 0;
	report_batch(&w->report, load, dead);
	if (w->shown)
		progress_batch(&w->progress, load, rows);
	add_load(&w->sum, load);
	w->batches++;
	tell_sum_if_due(w);
}

void watch_error(struct watch *w, const struct err *e, bool again)
{
	w->progress.errors++;
	w->progress.lost = e->code == ERR_POSITION;
	report_error(&w->report, e, again);
}

void watch_sleep(struct watch *w, int64_t ms)
{
	tell_sum_if_due(w);
	ticker_tend(w->ticker);
	report_sleep(&w->report, NULL, 0, ms);
}

void watch_idle(struct watch *w, struct pq *src, int64_t ms)
{
	int fd[] = { w->ticker ? w->ticker->fd : -1, pq_socket(src) };

	tell_sum_if_due(w);
	if (!pq_woken(src))
		report_sleep(&w->report, fd, 2, ms);
	ticker_tend(w->ticker);
}

void watch_end(struct watch *w, const char *how, bool failed)
{
	if (w->report.conf->log_interval)
		tell_sum(w);
	if (w->shown)
		progress_end(&w->progress, how);
	report_end(&w->report, failed);
}
