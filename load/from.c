/*
 * A table as the source: it is copied a slice at a time, each in one transaction of the target in
 * each lane, with a mark of how far the lane is. So a copy that was killed goes on, and nothing
 * comes twice.
 *
 *   source                            target
 *   the holder: BEGIN, export
 *   the reader: BEGIN, that snapshot
 *                                     BEGIN, lock on the position, the mark known there
 *   COPY a range of rows out   ->     COPY rows in, a partition at a time
 *                                     dead letters, the mark, COMMIT
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "from.h"

struct slice {
	struct from *from;
	struct next next;
	struct lines lines;
	struct pass pass;
	struct queue_batch letters;     /* what its dead letters are stored under */
};

/* ---- what is told */

/* Of a table: up to a mark. Nobody knows how many rows come before a value of a key. */
static int64_t bytes_upto(const struct origin_table *t, const char *upto)
{
	if (strcmp(upto, SLICE_END) == 0)
		return t->bytes;
	return t->blocks > 0 ? (int64_t)((double)t->bytes * strtod(upto, NULL) /
		(double)t->blocks) : 0;
}

/* Shows how far the copy is. to: where the slice at hand ends, or NULL. */
static void show(struct from *f, const char *from, const char *to)
{
	const struct origin_table *t = &f->origin.table[f->at < f->origin.n ? f->at : 0];
	int64_t total = 0, done = 0, slice = to ? bytes_upto(t, to) - bytes_upto(t, from) : 0;
	double rows = t->bytes > 0 && t->rows > 0 ?
		t->rows * (double)slice / (double)t->bytes : 0;

	for (size_t i = 0; i < f->origin.n; i++) {
		done += i < f->at ? f->origin.table[i].bytes : 0;
		total += f->origin.table[i].bytes;
	}
	for (size_t i = 1; to && i <= f->more; i++) {
		slice += t[i].bytes;
		rows += t[i].rows > 0 ? t[i].rows : 0;
	}
	if (to)
		done += bytes_upto(t, from);
	watch_slice(f->job->watch, done, total, slice, (int64_t)rows);
}

/* Appends the row that a dead letter or an error names by its number. */
static void add_row(struct buf *text, const struct slice_query *q, int64_t id)
{
	if (!q->origin->key)
		buf_fmt(text, "row (%" PRId64 ",%d) of %s", id / 65536, (int)(id % 65536),
			q->table->name);
	else
		buf_fmt(text, "row %" PRId64 " of %s %s%s", id, q->table->name,
			*q->from ? "after " : "", *q->from ? q->from + 1 : "from its beginning");
}

static void log_skipped(const struct slice_query *q, const struct letters *dead, size_t i)
{
	struct buf text = { 0 };

	add_row(&text, q, dead->at[i].event);
	log_warn("%s skipped: %s", buf_cstr(&text), letters_text(dead, i, LETTER_MESSAGE));
	buf_free(&text);
}

static void tell(const struct slice *s, int64_t took_ms)
{
	struct job *j = s->from->job;
	const struct pass *p = &s->pass;
	const struct slice_query *q = &s->lines.query;
	const struct place *k = s->lines.reader.way->place;
	const struct sink_done *done = sink_done(p->sink, k->number);
	bool skip = j->conf->on_error == ON_ERROR_SKIP;
	int64_t dead = (int64_t)p->dead.n;
	struct load load = {
		.events = p->events, .rows = tally_rows(&done->rows),
		.unstored = tally_rows(&done->unstored), .bytes = sink_bytes(p->sink),
		.partitions = watch_partitions(j->watch), .dead = skip ? 0 : dead,
		.skipped = skip ? dead : 0, .late = p->late, .took_ms = took_ms,
	};

	if (dead)
		log_warn("%s: %" PRId64 " row%s %s, the first: %s", q->table->name,
			dead, text_s(dead), skip ? "skipped" : "went to tdispatch.dead_letter",
			p->dead.first_message);
	if (load.unstored)
		log_warn("%s: the target did not store %" PRId64 " rows: a trigger left them out",
			q->table->name, load.unstored);
	log_debug("table %s, slice %s to %s: tables=%zu rows=%" PRId64
		" partitions_created=%" PRId64 " seconds=%.3f", q->table->name, *q->from ? q->from :
		"0", q->to, q->more + 1, load.rows, load.partitions, (double)took_ms / 1000);
	watch_batch(j->watch, &load, &done->rows, &p->dead);
}

/* ---- a slice */

/* What its letters have as batch_id. Rows of a key are counted in their slice. */
static int64_t letters_id(const struct slice_query *q)
{
	struct buf text = { 0 };

	if (!q->origin->key)
		return -q->table->oid;
	buf_fmt(&text, "%" PRId64 " %s", q->table->oid, q->from);
	uint64_t hash = span_hash("tdispatch slice", (struct span){ text.p, text.len });
	buf_free(&text);
	return -1 - (int64_t)(hash >> 2);
}

static int keep_dead(struct slice *s, struct err *e)
{
	struct job *j = s->from->job;
	struct letters *dead = &s->pass.dead;

	for (size_t i = 0; i < dead->n && j->conf->on_error == ON_ERROR_SKIP; i++)
		log_skipped(&s->lines.query, dead, i);
	if (j->conf->on_error != ON_ERROR_DEAD_LETTER || !dead->n)
		return 0;
	s->letters.id = letters_id(&s->lines.query);
	s->letters.event_sql = slice_event_sql(&s->lines.query);
	return dead_write(dead, j->src, j->dst, j->conf, &s->letters, e);
}

static int commit(struct slice *s, struct err *e)
{
	struct job *j = s->from->job;

	if (next_mark(s->from, &s->next, e) == 0 && txn_commit(j, NULL, s->pass.sink, e) < 0)
		places_forget(&j->dests);
	if (!e->code)
		inside_committed(&j->dests);
	return e->code;
}

/* Before the commit. ERR_SHAPE: binary rows went to other types. */
static int check_types(struct slice *s, struct err *e)
{
	bool fit;

	if (extract_fit(&s->lines.extract, &s->pass, &fit, e) < 0 || fit)
		return e->code;
	s->from->text = true;
	return err_set(e, ERR_SHAPE, "partitions of %s have columns of other types than it has",
		s->lines.reader.way->dest->dest_table);
}

/* Has one of the source's tables that name, behind its schema? */
static bool is_of_source(const struct origin *o, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < o->n; i++) {
		const char *own = o->table[i].name, *end = own + strlen(own);
		if ((size_t)(end - own) > n && end[-(ssize_t)n - 1] == '.' &&
		    memcmp(end - n, name, n) == 0)
			return true;
	}
	return false;
}

/* Before the commit. By its name, what was taken for a partition may be a table of the source. */
static int refuse_names(struct slice *s, struct err *e)
{
	struct job *j = s->from->job;
	const struct origin *o = &s->from->origin;
	const struct place *k = s->lines.reader.way->place;
	const struct tally *rows = &sink_done(s->pass.sink, k->number)->rows;
	struct table table;

	for (size_t i = 0; i < rows->n && s->from->within; i++) {
		const char *name = rows->at[i].name;
		if (!is_of_source(o, name))
			continue;
		if (table_find(j->dst[0], k->dest, span_of(name), &table, e) < 0)
			return e->code;
		for (size_t t = 0; t < o->n; t++)
			if (o->table[t].oid == strtoll(table.oid, NULL, 10))
				return err_set(e, ERR_SHAPE, "partition %s is a table that rows are"
					" copied from: rename it, or the new ones", name);
	}
	return 0;
}

/* Begins it, and sends its rows. 1; 0: there is none; or an error. */
static int send_rows(struct slice *s, struct err *e)
{
	struct from *f = s->from;
	struct slice_query *q = &s->lines.query;
	int rc;

	do {
		rc = next_begin(f, &s->next, q, e);
		if (rc <= 0)
			return rc;
		show(f, q->from, q->to);
		lines_begin(&s->lines);
		s->lines.pieces.single |= f->single;
		s->lines.text = f->text;
		s->lines.merges = f->again;
		rc = pass_run(&s->pass, e);
	} while (rc > 0);
	return rc < 0 ? rc : 1;
}

/* The same, and commits them. */
static int load(struct slice *s, struct err *e)
{
	int rc = send_rows(s, e);

	if (rc <= 0)
		return rc;
	s->lines.without = &s->pass.dead;
	if (inside_index(s->from->job, s->pass.events, e) < 0 ||
	    (s->lines.merges && merge_run(&s->pass, e) < 0) ||
	    refuse_names(s, e) < 0 || check_types(s, e) < 0 || keep_dead(s, e) < 0 ||
	    (s->from->verify && verify_run(&s->pass, e) < 0) || commit(s, e) < 0)
		return e->code;
	return 1;
}

/* Says which row it is. Afterwards the connections are of no more use. */
static void blame(struct slice *s, struct err *e)
{
	struct pass *p = &s->pass;
	const struct slice_query *q = &s->lines.query;
	int64_t id = p->careful ? p->event : -1;
	struct buf text = { 0 };

	p->event = -1;
	blame_batch(p, e);
	if (id < 0 || (e->code != ERR_DATA && e->code != ERR_SHAPE))
		return;
	add_row(&text, q, id);
	blame_row(p, &text, e);
	buf_free(&text);
	if (s->from->job->conf->on_error == ON_ERROR_STOP && e->code == ERR_DATA)
		err_add(e, "; mend the row, the table or the config, or go on without the row:"
			" on_error = dead_letter keeps it in tdispatch.dead_letter, on_error ="
			" skip leaves it out");
}

/* As load; a failed pass is repeated: once with partitions that are finished before their rows, if
 * that has failed, and once carefully: then rows have numbers. */
static int load_or_blame(struct slice *s, struct err *e)
{
	struct from *f = s->from;
	struct pass *p = &s->pass;
	const struct conf *c = f->job->conf;
	int rc;

	while ((rc = load(s, e)) < 0) {
		bool careful = (e->code == ERR_DATA || e->code == ERR_SHAPE) && !p->careful;
		bool last = p->finishes && f->job->dests.fails_last && !sqlstate_is_lost(e);
		if (!careful && !last) {
			blame(s, e);
			return e->code;
		}
		log_debug("%s; reading the slice again%s", e->msg, careful ? ", row by row" : "");
		*e = (struct err){ 0 };
		p->finishes = false;
		p->careful |= careful;
		p->keep = p->careful && c->on_error != ON_ERROR_STOP;
		if (careful)            /* its numbers are of one table's rows */
			f->alone = f->at + f->more + 1;
		p->event = -1;
		p->fault = (struct sink_fault){ .event = -1 };
		job_disconnect(f->job);
		places_forget(&f->job->dests);
		if (ends_open(f, e) < 0)
			return e->code;
	}
	return rc;
}

/* ---- the tables */

/* As load, of the table at hand. */
static int run_slice(struct from *f, struct err *e)
{
	struct job *j = f->job;
	int64_t start_ms = clock_ms();
	struct slice s = {
		.from = f,
		.letters = {
			.id = -f->origin.table[f->at].oid, .of_table = true,
			.tick_us = (int64_t)time(NULL) * 1000000,
		},
		.pass = {
			.job = j, .sink = j->dests.sink, .event = -1,
			.finishes = !j->dests.fails_last, .max_dead = j->conf->max_errors,
		},
	};

	s.pass.batch = &s.letters;
	s.pass.reader = &s.lines.reader;
	int rc = load_or_blame(&s, e);
	if (rc > 0)
		tell(&s, clock_ms() - start_ms);
	f->single |= s.lines.pieces.single;
	/* rows that lines can place, but binary rows could not */
	f->text |= rc > 0 && s.pass.careful && !s.pass.dead.n;
	if (rc > 0)
		next_end(f, &s.next, e);
	letters_clear(&s.pass.dead);
	qbatch_free(&s.letters);
	lines_free(&s.lines);
	next_free(&s.next);
	return e->code ? e->code : rc;
}

/* By what was read of the marks: is the table done? */
static bool is_done(const struct from *f)
{
	const struct origin_table *t = &f->origin.table[f->at];
	const struct resume_verdict v = resume_judge(f->job->conf, &f->done, t, f->origin.key);

	if (v.kind == RESUME_DONE && v.rewritten)
		log_warn("%s was rewritten since it was copied: it is not copied again", t->name);
	return v.kind == RESUME_DONE;
}

int from_open(struct from *f, struct err *e)
{
	return ends_open(f, e) < 0 ? e->code : next_read(f, e);
}

int from_run(struct from *f, struct err *e)
{
	int rc;

	if (ends_open(f, e) < 0 || f->complete)
		return e->code;
	for (; f->at < f->origin.n; f->at++) {
		if (is_done(f))
			continue;
		rc = run_slice(f, e);
		if (rc)
			return rc;
	}
	if (f->origin.n)
		show(f, SLICE_START, NULL);
	return ends_complete(f, e);
}

void from_free(struct from *f)
{
	pq_close(f->holder);
	origin_free(&f->origin);
	mark_clear(&f->marks);
	mark_clear(&f->done);
	places_free(&f->job->dests);
	*f = (struct from){ .job = f->job, .verify = f->verify };
}
