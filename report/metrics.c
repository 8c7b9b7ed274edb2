/*
 * The metrics file: the process's counters since its start, in Prometheus' text format.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "private.h"

/* Upper bounds of the histogram's buckets; the one above them has none. */
static const int64_t bound_ms[METRICS_BUCKETS - 1] = {
	10, 30, 100, 300, 1000, 3000, 10000, 30000, 100000, 300000,
};

void metrics_error(struct metrics *m, const char *sqlstate)
{
	char class[3] = { sqlstate[0], sqlstate[0] ? sqlstate[1] : 0 };
	size_t i = 0;

	while (i < m->nerror && strcmp(m->error[i].class, class) != 0)
		i++;
	if (i == METRICS_CLASSES)
		return;
	if (i == m->nerror) {
		memcpy(m->error[i].class, class, sizeof class);
		m->nerror++;
	}
	m->error[i].n++;
}

void metrics_retry(struct metrics *m, int code)
{
	assert(code < 0 && -code < METRICS_KINDS);
	m->retries[-code]++;
}

void metrics_batch(struct metrics *m, const struct load *load)
{
	size_t i = 0;

	while (i < METRICS_BUCKETS - 1 && load->took_ms > bound_ms[i])
		i++;
	m->bucket[i]++;
	m->took_ms += load->took_ms;
	m->batches++;
	m->events += load->events;
	m->rows += load->rows;
	m->unstored += load->unstored;
	m->bytes += load->bytes;
	m->dead += load->dead;
	m->skipped += load->skipped;
	m->late += load->late;
	m->late_rows += load->late_rows;
	m->passed += load->passed;
	if (load->dests)
		tally_merge(&m->dests, load->dests);
}

void metrics_free(struct metrics *m)
{
	tally_clear(&m->dests);
}

/* ---- the text */

static void add_head(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_fmt(out, "# HELP tdispatch_%s %s\n# TYPE tdispatch_%s %s\n", name, help, name, type);
}

/* extra: one more label with a comma before it, or "". */
static void add_name(struct buf *out, const char *name, const char *labels, const char *extra)
{
	buf_fmt(out, "tdispatch_%s{%s%s} ", name, labels, extra);
}

static void add_count(struct buf *out, const char *name, const char *labels, int64_t n,
	const char *help)
{
	add_head(out, name, "counter", help);
	add_name(out, name, labels, "");
	buf_fmt(out, "%" PRId64 "\n", n);
}

static void add_seconds(struct buf *out, int64_t ms)
{
	buf_fmt(out, "%" PRId64 ".%03d\n", ms / 1000, (int)(ms % 1000));
}

static void add_errors(struct buf *out, const struct metrics *m, const char *labels)
{
	char class[40];

	if (m->nerror)
		add_head(out, "errors_total", "counter",
			"Errors of servers and events, by SQLSTATE class; none: without one.");
	for (size_t i = 0; i < m->nerror; i++) {
		const char *name = *m->error[i].class ? m->error[i].class : "none";
		snprintf(class, sizeof class, ",class=\"%s\"", name);
		add_name(out, "errors_total", labels, class);
		buf_fmt(out, "%" PRId64 "\n", m->error[i].n);
	}
}

static void add_histogram(struct buf *out, const struct metrics *m, const char *labels)
{
	char le[40];
	int64_t n = 0;

	add_head(out, "batch_seconds", "histogram", "Time that loading a batch took.");
	for (size_t i = 0; i < METRICS_BUCKETS; i++) {
		n += m->bucket[i];
		if (i < METRICS_BUCKETS - 1)
			snprintf(le, sizeof le, ",le=\"%g\"", (double)bound_ms[i] / 1000);
		else
			snprintf(le, sizeof le, ",le=\"+Inf\"");
		add_name(out, "batch_seconds_bucket", labels, le);
		buf_fmt(out, "%" PRId64 "\n", n);
	}
	add_name(out, "batch_seconds_sum", labels, "");
	add_seconds(out, m->took_ms);
	add_name(out, "batch_seconds_count", labels, "");
	buf_fmt(out, "%" PRId64 "\n", n);
}

static void add_label(struct buf *out, const char *name, const char *value)
{
	struct span text = span_of(value);

	buf_fmt(out, "%s%s=\"", out->len ? "," : "", name);
	char *room = buf_reserve(out, TEXT_GROWTH * text.n);
	out->len += text_label(room, TEXT_GROWTH * text.n, text);
	buf_str(out, "\"");
}

static void add_dests(struct buf *out, const struct metrics *m, const char *labels)
{
	if (m->dests.n)
		add_head(out, "destination_rows_total", "counter",
			"Rows that the target stored, by dest_table, with sections of tables.");
	for (size_t i = 0; i < m->dests.n; i++) {
		struct buf label = { 0 }, more = { 0 };
		add_label(&label, "dest_table", m->dests.at[i].name);
		buf_fmt(&more, ",%s", buf_cstr(&label));
		add_name(out, "destination_rows_total", labels, buf_cstr(&more));
		buf_fmt(out, "%" PRId64 "\n", m->dests.at[i].rows);
		buf_free(&label);
		buf_free(&more);
	}
}

/* n less than 0: unknown, and left out. */
/* false: it is not known. */
static bool begin_gauge(struct buf *out, const char *name, const char *labels, bool known,
	const char *help)
{
	if (known) {
		add_head(out, name, "gauge", help);
		add_name(out, name, labels, "");
	}
	return known;
}

static void add_gauge(struct buf *out, const char *name, const char *labels, int64_t n,
	const char *help)
{
	if (begin_gauge(out, name, labels, n >= 0, help))
		buf_fmt(out, "%" PRId64 "\n", n);
}

static void add_age(struct buf *out, const char *name, const char *labels, int64_t ms,
	const char *help)
{
	if (begin_gauge(out, name, labels, ms >= 0, help))
		add_seconds(out, ms);
}

static void add_version(struct buf *out, const char *labels)
{
	add_head(out, "build_info", "gauge", "Always 1; the version is a label.");
	add_name(out, "build_info", labels, ",version=\"" TDISPATCH_VERSION "\"");
	buf_str(out, "1\n");
}

static void add_gauges(struct buf *out, const struct metrics *m, const struct health *h,
	const char *labels)
{
	const struct queue_backlog *q = &h->queue;

	add_version(out, labels);
	add_gauge(out, "up", labels, h->pid > 0 && h->failing_ms < 0,
		"1: it works; 0: an error lasts, or the process has ended.");
	add_gauge(out, "written_timestamp_seconds", labels, time(NULL),
		"When this was written: every 5 seconds, unless a statement takes longer.");
	add_age(out, "lag_seconds", labels, q->lag_ms,
		"Age of the newest tick that the target has, by the source's clock.");
	add_gauge(out, "pending_events", labels, q->events,
		"Events in ticks that the target does not have, an estimate.");
	add_gauge(out, "unticked_events", labels, q->unticked,
		"Events after the newest tick, which nobody gets before the next, an estimate.");
	add_age(out, "newest_tick_age_seconds", labels, q->newest_ms,
		"Age of the queue's newest tick when last looked at.");
	add_gauge(out, "dead_letters_waiting", labels, m->dead_waiting,
		"Letters of the consumer in tdispatch.dead_letter.");
	add_gauge(out, "last_success_timestamp_seconds", labels, m->success_s ? m->success_s : -1,
		"When a batch was loaded last, or the queue was found empty.");
}

/* All kinds, from the beginning: a rate needs the 0 before the first. */
static void add_retries(struct buf *out, const struct metrics *m, const char *labels)
{
	static const char *const kinds[METRICS_KINDS] = {
		[-ERR_CONN] = "connection", [-ERR_RESOURCE] = "resource", [-ERR_RIGHTS] = "rights",
		[-ERR_READONLY] = "readonly", [-ERR_TIMEOUT] = "timeout",
		[-ERR_CONFLICT] = "conflict", [-ERR_OTHER] = "other",
	};
	char kind[40];

	add_head(out, "retries_total", "counter", "Tries again after an error, by its kind.");
	for (size_t i = 0; i < METRICS_KINDS; i++) {
		if (!kinds[i])
			continue;
		snprintf(kind, sizeof kind, ",kind=\"%s\"", kinds[i]);
		add_name(out, "retries_total", labels, kind);
		buf_fmt(out, "%" PRId64 "\n", m->retries[i]);
	}
}

void metrics_text(const struct metrics *m, const struct health *h, const struct conf *conf,
	struct buf *out)
{
	struct buf names = { 0 };

	add_label(&names, "queue", conf->queue_name);
	add_label(&names, "consumer", conf->consumer_name);
	const char *labels = buf_cstr(&names);
	add_gauges(out, m, h, labels);
	add_count(out, "events_total", labels, m->events, "Events of the batches loaded.");
	add_count(out, "rows_total", labels, m->rows, "Rows that the target stored.");
	add_dests(out, m, labels);
	add_count(out, "unstored_rows_total", labels, m->unstored,
		"Rows that the target took and a trigger there left out.");
	add_count(out, "bytes_total", labels, m->bytes,
		"Bytes of rows sent to the target.");
	add_count(out, "batches_total", labels, m->batches,
		"Batches loaded, those without events too.");
	add_count(out, "dead_letters_total", labels, m->dead,
		"Events that went to tdispatch.dead_letter.");
	add_count(out, "skipped_events_total", labels, m->skipped,
		"Events skipped since they could not be written.");
	add_count(out, "late_events_total", labels, m->late,
		"Events left out by part_late = skip.");
	add_count(out, "late_rows_total", labels, m->late_rows,
		"Rows loaded by part_late = create, which part_keep removes.");
	add_count(out, "passed_events_total", labels, m->passed, "Events that filters left out.");
	add_count(out, "partitions_created_total", labels, m->partitions, "Partitions created.");
	add_errors(out, m, labels);
	add_retries(out, m, labels);
	add_histogram(out, m, labels);
	buf_free(&names);
}
