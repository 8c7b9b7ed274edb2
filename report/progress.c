/*
 * Progress of a finite run (--once), for whoever is watching: how much is done of the estimated
 * total, and a summary at the end. On a terminal one line that is redrawn, else a log line from
 * time to time, or JSON for a script.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "private.h"

#define ESTIMATE_AFTER_MS 2000          /* before that the rate says nothing about the rest */

static int64_t every_ms(const struct progress *p)
{
	switch (p->kind) {
	case PROGRESS_LINE: return 200;
	case PROGRESS_JSON: return 1000;
	default: return 10000;
	}
}

void progress_begin(struct progress *p, enum progress_kind kind, bool verify)
{
	*p = (struct progress){
		.kind = kind, .total = -1, .start_ms = clock_ms(), .verify = verify,
	};
	p->shown_ms = p->start_ms;
	if (kind == PROGRESS_LINE)
		log_status("");
}

/* ---- numbers for people */

static void add_number(struct buf *b, const char *before, int64_t n, const char *after)
{
	char text[TEXT_GROUPED];

	buf_fmt(b, "%s%s%s", before, text_grouped(n, text), after);
}

/* As 1 partition, 2 partitions. */
static void add_count(struct buf *b, const char *before, int64_t n, const char *what,
	const char *after)
{
	add_number(b, before, n, " ");
	buf_fmt(b, "%s%s%s", what, n == 1 ? "" : "s", after);
}

static int64_t rate(int64_t events, int64_t ms)
{
	return ms > 0 ? (int64_t)((double)events * 1000 / (double)ms) : 0;
}

/* Bytes of the table that are copied, as far as the rows of the slice at hand tell. */
static int64_t bytes_now(const struct progress *p)
{
	double read = p->slice_rows > 0 ? (double)p->now_events / (double)p->slice_rows : 0;

	return p->bytes + (int64_t)((double)p->slice_bytes * (read < 1 ? read : 1));
}

static int64_t seconds_of_bytes(const struct progress *p, int64_t ms)
{
	int64_t now = bytes_now(p), done = now - p->bytes_start;

	if (done <= 0 || ms < ESTIMATE_AFTER_MS)
		return -1;
	return (int64_t)((double)(p->bytes_total - now) * (double)ms / (double)done / 1000 + 0.999);
}

/* With two readings of each event, both count. -1 where it cannot be told. */
static int64_t seconds_left(const struct progress *p, int64_t events, int64_t ms)
{
	double times = p->verify ? 2 : 1, done = (double)events;

	if (p->bytes_total)
		return seconds_of_bytes(p, ms);
	if (p->verify)
		done += (double)(events - p->now_events + p->now_verified);
	if (p->total < 0 || done <= 0 || ms < ESTIMATE_AFTER_MS)
		return -1;
	double left = times * (double)p->total - done;
	return left > 0 ? (int64_t)(left * (double)ms / done / 1000 + 0.999) : 0;
}

/* ---- while it runs */

/* Takes the last piece, from *len on, back if the line is wider with it. */
static void fit(struct buf *b, size_t *len, size_t width)
{
	if (b->len > width)
		b->len = *len;
	*len = b->len;
}

static void add_left(struct buf *b, int64_t left)
{
	if (left > 0)
		buf_fmt(b, ", %" PRId64 ":%02d:%02d left", left / 3600, (int)(left / 60 % 60),
			(int)(left % 60));
	else if (left == 0)             /* the target has to end its statement, and to commit */
		buf_str(b, ", finishing");
}

static void add_share(struct buf *b, const struct progress *p)
{
	static const char *const unit[] = { "bytes", "kB", "MB", "GB", "TB" };
	double total = (double)p->bytes_total;
	size_t i = 0;

	for (; total >= 10000 && i < 4; i++)
		total /= 1000;
	buf_fmt(b, ", %d %% of %.0f %s", (int)(100.0 * (double)bytes_now(p) /
		(double)p->bytes_total), total, unit[i]);
}

/* A piece with which the line is wider than `width` is left out; what matters most comes first. */
static void add_text(struct buf *b, const struct progress *p, int64_t events, int64_t ms,
	size_t width)
{
	size_t len = b->len;

	buf_str(b, p->stopping ? "stopping: " : "");
	add_number(b, "", events, "");
	if (p->total >= events)
		add_number(b, " of about ", p->total, "");
	buf_str(b, p->of_table ? " rows" : " events");
	if (p->bytes_total)
		add_share(b, p);
	fit(b, &len, width);
	if (p->verifying)
		add_number(b, ", verifying ", p->now_verified, "");
	fit(b, &len, width);
	add_left(b, seconds_left(p, events, ms));
	fit(b, &len, width);
	add_number(b, ", ", rate(events, ms), "/s");
	fit(b, &len, width);
	add_count(b, ", ", p->parts, "partition", "");
	fit(b, &len, width);
}

/* null where it is not known */
static void add_json(struct buf *b, const char *key, int64_t n)
{
	buf_fmt(b, n < 0 ? ",\"%s\":null" : ",\"%s\":%" PRId64, key, n);
}

static void add_json_now(struct buf *b, const struct progress *p, int64_t events, int64_t ms)
{
	buf_fmt(b, "{\"type\":\"progress\",\"seconds\":%.3f", (double)ms / 1000);
	add_json(b, "events", events);
	add_json(b, "events_estimated", p->total);
	add_json(b, "events_per_second", rate(events, ms));
	add_json(b, "seconds_left", seconds_left(p, events, ms));
	add_json(b, "partitions_created", p->parts);
	if (p->of_table) {
		add_json(b, "bytes", p->bytes_total ? bytes_now(p) : -1);
		add_json(b, "bytes_total", p->bytes_total ? p->bytes_total : -1);
	}
	add_json(b, "events_verified", p->verify ? p->events + p->now_verified : -1);
	buf_fmt(b, ",\"verifying\":%s}", p->verifying ? "true" : "false");
}

/* A line that is wider than the terminal could not be drawn over. */
static size_t terminal_width(void)
{
	struct winsize size;

	bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
	return known ? size.ws_col - 1 : 79;
}

static void put_line(struct buf *line)
{
	buf_str(line, "\n");
	fwrite(line->p, 1, line->len, stdout);
	fflush(stdout);
}

static void show(struct progress *p, int64_t ms)
{
	int64_t events = p->events + p->now_events;
	struct buf line = { 0 };

	p->stopping = process_stop_after_batch();
	if (p->kind == PROGRESS_JSON)
		add_json_now(&line, p, events, ms);
	else
		add_text(&line, p, events, ms,
			p->kind == PROGRESS_LINE ? terminal_width() : SIZE_MAX);
	if (p->kind == PROGRESS_JSON)
		put_line(&line);
	else if (p->kind == PROGRESS_LINE)
		log_status(buf_cstr(&line));
	else
		log_info("progress: %s", buf_cstr(&line));
	buf_free(&line);
}

int64_t progress_show(struct progress *p, int64_t events)
{
	*(p->verifying ? &p->now_verified : &p->now_events) = events;
	int64_t now_ms = clock_ms(), next_ms = p->shown_ms + every_ms(p);
	if (now_ms < next_ms)
		return next_ms - now_ms;
	p->shown_ms = now_ms;
	show(p, now_ms - p->start_ms);
	return every_ms(p);
}

void progress_slice(struct progress *p, int64_t bytes, int64_t bytes_total, int64_t slice_bytes,
	int64_t slice_rows)
{
	if (!p->of_table)
		p->bytes_start = bytes;
	p->of_table = true;
	p->bytes = bytes;
	p->bytes_total = bytes_total;
	p->slice_bytes = slice_bytes;
	p->slice_rows = slice_rows;
}

void progress_batch(struct progress *p, const struct load *load, const struct tally *rows)
{
	p->events += load->events;
	p->bad += load->dead + load->skipped + load->late;
	p->passed += load->passed;
	p->batches++;
	p->now_events = p->now_verified = 0;
	tally_merge(&p->rows, rows);
}

/* ---- at the end */

static void say(const struct progress *p, struct buf *line)
{
	if (p->kind == PROGRESS_LINE)
		print_line(stderr, "%s\n", buf_cstr(line));
	log_info("%s", buf_cstr(line));
	line->len = 0;
}

/* After an end before all was in. */
static void say_kept(const struct progress *p, struct buf *line)
{
	buf_str(line, "what was loaded is kept");
	if (p->parts)
		buf_fmt(line, ", and the partition%s created", text_s(p->parts));
	buf_str(line, p->now_events ? "; the batch that was not finished is rolled back" : "");
	buf_str(line, "; the same command goes on from there");
	say(p, line);
}

static void end_text(const struct progress *p, const char *how, bool failed, int64_t ms)
{
	struct buf line = { 0 };
	const char *what = p->of_table ? "source row" : "event";

	buf_str(&line, how);
	add_count(&line, ": ", p->events, what, "");
	buf_fmt(&line, " in %.1f s", (double)ms / 1000);
	add_number(&line, ", ", rate(p->events, ms), " a second");
	add_count(&line, "; ", tally_rows(&p->rows), "row", "");
	add_count(&line, ", ", p->parts, "partition", " created");
	if (p->passed)
		add_count(&line, ", ", p->passed, "event", " left out by filters");
	if (p->bad)
		add_count(&line, ", ", p->bad, what, " not written");
	if (p->errors)
		add_count(&line, ", ", p->errors, "error", "");
	if (p->verify && !failed)
		add_count(&line, "; verified ", (int64_t)p->rows.n, "partition", "");
	say(p, &line);
	for (size_t i = 0; i < p->rows.n; i++) {
		buf_fmt(&line, "  %s: ", p->rows.at[i].name);
		add_count(&line, "", p->rows.at[i].rows, "row", "");
		say(p, &line);
	}
	if (failed && p->events && !p->lost)
		say_kept(p, &line);
	buf_free(&line);
}

static void end_json(const struct progress *p, const char *how, int64_t ms)
{
	struct buf line = { 0 };

	buf_fmt(&line, "{\"type\":\"summary\",\"end\":\"%s\",\"seconds\":%.3f", how,
		(double)ms / 1000);
	add_json(&line, "events", p->events);
	add_json(&line, "batches", p->batches);
	add_json(&line, "rows", tally_rows(&p->rows));
	add_json(&line, "partitions_created", p->parts);
	add_json(&line, "events_passed", p->passed);
	add_json(&line, "events_not_written", p->bad);
	add_json(&line, "errors", p->errors);
	add_json(&line, "partitions_verified", p->verify ? (int64_t)p->rows.n : -1);
	buf_str(&line, ",\"rows_of\":{");
	for (size_t i = 0; i < p->rows.n; i++) {
		buf_str(&line, i ? "," : "");
		buf_json(&line, p->rows.at[i].name);
		buf_fmt(&line, ":%" PRId64, p->rows.at[i].rows);
	}
	buf_str(&line, "}}");
	put_line(&line);
	buf_free(&line);
}

void progress_end(struct progress *p, const char *how)
{
	if (p->kind == PROGRESS_LINE)
		log_status("");
	int64_t ms = clock_ms() - p->start_ms;
	if (p->kind == PROGRESS_JSON)
		end_json(p, how, ms);
	else
		end_text(p, how, strcmp(how, "done") != 0, ms);
	if (p->kind == PROGRESS_LINE)
		log_status(NULL);
	tally_clear(&p->rows);
}
