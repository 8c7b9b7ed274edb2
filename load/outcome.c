/*
 * What a batch has come to: logged, and reported to those who watch.
 */
#include <inttypes.h>

#include "private.h"

static void log_dead(const struct job *j, const struct queue_batch *b, const struct letters *dead)
{
	if (dead->n)
		log_warn("batch %" PRId64 ": %zu event%s %s, the first: event %" PRId64 ": %s",
			b->id, dead->n, text_s((int64_t)dead->n),
			j->conf->on_error == ON_ERROR_SKIP ? "skipped" :
			"went to tdispatch.dead_letter", dead->first, dead->first_message);
}

static void log_skipped(const struct job *j, const struct pass *p)
{
	int64_t id = p->batch->id;

	if (p->truncates)
		log_info("batch %" PRId64 ": %" PRId64 " truncate event%s skipped", id,
			p->truncates, text_s(p->truncates));
	if (p->own)
		log_info("batch %" PRId64 ": %" PRId64 " event%s of PgQ's own skipped", id, p->own,
			text_s(p->own));
	if (p->late)
		log_info("batch %" PRId64 ": %" PRId64 " row%s left out, older than part_keep%s%s",
			id, p->late, text_s(p->late), j->conf->nrule ? "" : " = ",
			j->conf->nrule ? "" : j->conf->dest.part_keep);
	if (p->left_out)
		log_debug("batch %" PRId64 ": %" PRId64 " row%s not staged, since later events of"
			" the batch replace them", id, p->left_out, text_s(p->left_out));
	log_dead(j, p->batch, &p->dead);
}

/* Adds the place's rows under their partitions' names, with the schema where there are several
 * places. */
static void add_rows(const struct job *j, const struct place *k, const struct tally *rows,
	struct tally *sum)
{
	struct buf name = { 0 };

	for (size_t i = 0; i < rows->n; i++) {
		name.len = 0;
		if (j->conf->nrule && k->dest->schema.n)
			buf_fmt(&name, "%.*s.", (int)k->dest->schema.n, k->dest->schema.p);
		buf_str(&name, rows->at[i].name);
		tally_add(sum, buf_cstr(&name), rows->at[i].rows);
	}
	buf_free(&name);
}

static void log_unstored(const struct queue_batch *b, const struct tally *unstored,
	const struct load *load)
{
	if (unstored->n)
		log_warn("batch %" PRId64 ": the target did not store %" PRId64 " of %" PRId64
			" rows: a trigger left them out, of %s%s", b->id, load->unstored,
			load->rows + load->unstored, unstored->at[0].name,
			unstored->n > 1 ? " and other partitions" : "");
}

static void log_batch(const struct job *j, const struct queue_batch *b, const struct load *load)
{
	double seconds = (double)load->took_ms / 1000;
	bool told = load->events && !j->conf->log_interval;

	struct buf passed = { 0 };

	if (load->passed || conf_filters(j->conf))
		buf_fmt(&passed, " passed=%" PRId64, load->passed);
	(told ? log_info : log_debug)("queue %s batch %" PRId64 " ticks %" PRId64
		"-%" PRId64 ": events=%" PRId64 " rows=%" PRId64 " partitions_created=%" PRId64
		" seconds=%.3f rows_per_second=%.0f lag=%.1f%s", j->conf->queue_name, b->id,
		b->prev_tick, b->tick, load->events, load->rows, load->partitions, seconds,
		(double)load->rows / (seconds > 0 ? seconds : 0.001), (double)load->lag_ms / 1000,
		buf_cstr(&passed));
	buf_free(&passed);
}

/* Adds what lanes have committed of the batch before one failed. */
static void add_half(struct loader *l, const struct queue_batch *b, struct load *load,
	struct tally *rows, struct tally *dests)
{
	if (l->half_of == b->id) {
		load->rows += tally_rows(&l->half);
		load->late_rows += l->half_late;
		tally_merge(rows, &l->half);
		tally_merge(dests, &l->half_dests);
	}
	tally_clear(&l->half);
	tally_clear(&l->half_dests);
	l->half_of = l->half_late = 0;
}

void outcome_tell(struct loader *l, const struct pass *p, int64_t took_ms)
{
	struct job *j = l->job;
	bool skip = j->conf->on_error == ON_ERROR_SKIP;
	int64_t dead = (int64_t)p->dead.n;
	struct tally rows = { 0 }, unstored = { 0 }, dests = { 0 };
	struct load load = {
		.events = p->events, .bytes = sink_bytes(p->sink),
		.partitions = watch_partitions(j->watch),
		.dead = skip ? 0 : dead, .skipped = skip ? dead : 0, .late = p->late,
		.passed = p->passed, .tick = p->batch->tick, .took_ms = took_ms,
		.lag_ms = p->batch->lag_ms + took_ms,
	};

	log_skipped(j, p);
	for (size_t i = 0; i < j->dests.nplace; i++) {
		const struct place *k = j->dests.place[i];
		const struct sink_done *done = sink_done(p->sink, i);
		add_rows(j, k, &done->rows, &rows);
		tally_add(&dests, k->dest->dest_table, tally_rows(&done->rows));
		add_rows(j, k, &done->unstored, &unstored);
		load.late_rows += upkeep_tell_late(j, k, p->batch->id, &done->rows);
	}
	load.rows = tally_rows(&rows);
	load.unstored = tally_rows(&unstored);
	log_unstored(p->batch, &unstored, &load);
	add_half(l, p->batch, &load, &rows, &dests);
	load.dests = j->conf->nrule ? &dests : NULL;
	log_batch(j, p->batch, &load);
	watch_batch(j->watch, &load, &rows, &p->dead);
	tally_clear(&rows);
	tally_clear(&unstored);
	tally_clear(&dests);
}

void outcome_keep_half(struct loader *l, const struct pass *p)
{
	struct job *j = p->job;

	if (l->half_of != p->batch->id) {
		tally_clear(&l->half);
		tally_clear(&l->half_dests);
	}
	l->half_of = p->batch->id;
	for (size_t n = 0; n < j->dests.nplace; n++) {
		const struct tally *rows = &sink_done(p->sink, n)->rows;
		struct tally committed = { 0 };
		for (size_t i = 0; i < rows->n; i++)
			if (!j->loads[job_lane_of(j, span_of(rows->at[i].name))])
				tally_add(&committed, rows->at[i].name, rows->at[i].rows);
		l->half_late += upkeep_tell_late(j, j->dests.place[n], p->batch->id, &committed);
		add_rows(j, j->dests.place[n], &committed, &l->half);
		tally_add(&l->half_dests, j->dests.place[n]->dest->dest_table,
			tally_rows(&committed));
		tally_clear(&committed);
	}
}
