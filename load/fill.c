/*
 * With fields = * each event has its own columns, and each set of columns a COPY of its own in each
 * partition. But a column that a row does not name is NULL in it, unless it has a default: then
 * rows that lack it may as well have NULL there, and share a COPY with those that have it.
 *
 * Which columns these are is asked of dest_table, once, under no lock; its partitions may have
 * others, and all may change. So whatever the rows of a pass got is checked of each table in the
 * message with the COMMIT, under the locks that the COPYs have taken. If it is wrong there, or the
 * COPY itself is refused since the table lacks a column or a right to it, the batch is loaded again
 * without. In a careful pass, which is to tell what is wrong with an event, a row has only the
 * columns of its event; if it finds none, the columns were at fault.
 */
#include "private.h"

#define MANY_SETS 16                    /* known at a time: worth the check in any batch */

static bool is_filled(const struct way *w)
{
	return w->dest->all && w->dest->row_mode != ROWS_KEEP_LATEST;
}

int fill_ask(struct dests *ds, struct pq *dst, bool all, struct err *e)
{
	for (size_t i = 0; i < ds->nway && !e->code; i++) {
		struct fill *f = &ds->way[i]->place->fill;
		bool needs = all || route_shapes(ds->way[i]->route) > 1;
		if (!is_filled(ds->way[i]) || f->asked || !needs)
			continue;
		f->asked = table_fills(dst, ds->way[i]->place->dest, &f->columns, e) == 0;
	}
	return e->code;
}

void fill_begin_batch(struct place *k)
{
	k->fill.doubted = k->fill.suspected = false;
}

/* In a batch of few rows and column sets, COPYs cost less than the check. */
static bool is_worth_it(struct fill *f, const struct way *w)
{
	f->many |= route_shapes(w->route) >= MANY_SETS;
	return f->many || w->place->known.large;
}

bool fill_begin(struct dests *ds, bool yes)
{
	bool changed = false;

	for (size_t i = 0; i < ds->nway; i++) {
		struct way *w = ds->way[i];
		struct fill *f = &w->place->fill;
		bool may = yes && is_filled(w) && !f->doubted && !f->refused;
		tally_clear(&f->used);
		may = may && is_worth_it(f, w);
		changed |= route_fill(w->route, may ? &f->columns : NULL);
	}
	return changed;
}

void fill_end(struct dests *ds)
{
	for (size_t i = 0; i < ds->nway; i++)
		route_filled(ds->way[i]->route, &ds->way[i]->place->fill.used);
}

void fill_stop(struct dests *ds)
{
	for (size_t i = 0; i < ds->nway; i++)
		route_fill(ds->way[i]->route, NULL);
}

bool fill_doubt(struct place *k)
{
	k->fill.doubted |= k->fill.used.n > 0;
	return k->fill.used.n;
}

void fill_suspect(struct place *k)
{
	k->fill.suspected |= k->fill.used.n > 0;
}

void fill_committed(struct dests *ds, bool bad)
{
	for (size_t i = 0; i < ds->nplace; i++) {
		struct fill *f = &ds->place[i]->fill;
		f->refused |= f->doubted || (f->suspected && !bad);
	}
}

void fill_forget(struct place *k)
{
	k->fill.asked = false;
	tally_clear(&k->fill.columns);
}
