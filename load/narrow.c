/*
 * Finds the events whose rows a table refuses at the end of a batch, where a statement has the rows
 * of many: tries ranges of ev_id under a savepoint, and halves those that fail, until one event
 * fails alone. What did not fail stays, in the order of ev_id, so that of two rows that exclude
 * each other the later one is at fault.
 */
#include <stdio.h>
#include <string.h>

#include "merge.h"

int narrow_blame(const struct narrow *w, const struct err *e)
{
	struct pass *p = w->pass;
	struct pq_fault found;

	pq_copy_fault(w->dst, w->part.table, &found);
	p->event = -1;
	p->fault = (struct sink_fault){ .event = -1, .lane = w->lane, .of = w->of };
	snprintf(p->fault.table, sizeof p->fault.table, "%.*s", (int)w->part.table.n,
		w->part.table.p);
	memcpy(p->fault.column, found.column, sizeof p->fault.column);
	return e->code;
}

void narrow_add(struct buf *sql, const struct narrow *w, const struct stage_range *range)
{
	if (w->kind)
		stage_add_insert(sql, w->stage, &w->part, w->kind, w->columns, range);
	else
		stage_add_delete(sql, w->stage, &w->part, range);
}

/* Runs the statement for the range. After an error what it did is undone. */
static int try(struct narrow *w, const struct stage_range *range, struct err *e)
{
	struct buf sql = { 0 };
	struct err ignored = { 0 };
	int64_t rows;

	buf_str(&sql, "SAVEPOINT tdispatch_range;");
	narrow_add(&sql, w, range);
	buf_str(&sql, "RELEASE SAVEPOINT tdispatch_range");
	if (stage_run(w->dst, buf_cstr(&sql), 1, &rows, e) == 0) {
		w->stored += w->kind ? rows : 0;
	} else if (narrow_blame(w, e) == ERR_DATA) {
		if (pq_query(w->dst, "ROLLBACK TO SAVEPOINT tdispatch_range;"
		    "RELEASE SAVEPOINT tdispatch_range", &ignored) < 0)
			*e = ignored;
	}
	buf_free(&sql);
	return e->code;
}

static int bury(struct narrow *w, int64_t event, struct err *e)
{
	w->pass->rows--;
	return send_bury(w->pass, event, w->lane, w->pass->fault.table, e);
}

static int halve(struct narrow *w, int64_t first, int64_t last, struct err *e)
{
	const struct stage_range range = { first, last };

	if (try(w, &range, e) != ERR_DATA)
		return e->code;
	if (first == last)
		return bury(w, first, e);
	*e = (struct err){ 0 };
	int64_t middle = first + (last - first) / 2;
	return halve(w, first, middle, e) < 0 ? e->code : halve(w, middle + 1, last, e);
}

/* Is it the rows' fault, or does the table refuse the statement without any? */
static int probe(struct narrow *w, struct err *e)
{
	const struct stage_range none = { 1, 0 };

	if (try(w, &none, e) == ERR_DATA)
		e->code = ERR_RIGHTS;
	return e->code;
}

int narrow_run(struct narrow *w, struct err *e)
{
	struct buf sql = { 0 };

	stage_add_ids(&sql, w->stage, &w->part);
	if (probe(w, e) == 0 && pq_query(w->dst, buf_cstr(&sql), e) == 0 &&
	    pq_value(w->dst, 0, 0))
		halve(w, pq_int(w->dst, 0, 0, 0), pq_int(w->dst, 0, 1, 0), e);
	buf_free(&sql);
	return e->code;
}
