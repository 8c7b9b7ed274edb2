/*
 * What an event does to a table that keeps the latest row of each key: which columns the key has,
 * and where they stand in the row.
 */
#include <stdlib.h>
#include <string.h>

#include "private.h"

#define MEMOS 8                         /* of the ops, and of the column lists before and after */

struct action_keys {
	struct memo {                   /* of one ev_type and column list */
		const struct route *route;
		uint32_t shape;
		char *type;
		size_t ntype;
		size_t n, at[ACTION_KEY_MAX];
	} memo[MEMOS];
	size_t next;
};

void action_free(struct action_keys *keys)
{
	for (size_t i = 0; keys && i < MEMOS; i++)
		free(keys->memo[i].type);
	free(keys);
}

/* What of ev_type tells the key. */
static struct span key_type(struct span type)
{
	const char *colon = type.n && !type_is_json(type) ? memchr(type.p, ':', type.n) : NULL;

	return colon ? (struct span){ colon, (size_t)(type.p + type.n - colon) } : type;
}

/* ---- the key's columns */

/* The name that the row's column has in the target. false: it is not written. */
static bool target_of(const struct dest *d, struct span source, struct span *target)
{
	*target = source;
	for (size_t i = 0; i < d->nfield - d->nword; i++)
		if (span_eq(d->field[i].source, source)) {
			*target = d->field[i].target;
			return true;
		}
	return d->all;
}

/* Finds the column in the shape; fails if it is not there. */
static int find_column(const struct dest *d, const struct shape *shape, struct span source,
	size_t *at, struct err *e)
{
	struct span target;
	struct buf shown = { 0 };
	ssize_t found = target_of(d, source, &target) ?
		shape_find(shape, target, 0, shape->n - shape->nword) : -1;

	if (found < 0) {
		buf_printable(&shown, source, NAME_BYTES_MAX);
		err_set(e, ERR_DATA, "column %s is of the key, and not among those that are"
			" written", buf_cstr(&shown));
		buf_free(&shown);
	}
	*at = (size_t)found;
	return e->code;
}

/* The names as the event has them; returns their number. */
static size_t key_names(const struct dest *d, struct span type, struct buf *text,
	struct span *names)
{
	const char *list = d->row_key;
	size_t n = type_pkey(type, text, names, ACTION_KEY_MAX + 1);

	if (n)
		return n;
	while (n <= ACTION_KEY_MAX && filter_next(&list, &names[n]))
		n++;
	return n;
}

static bool is_before(struct span a, struct span b)
{
	int order = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);

	return order < 0 || (order == 0 && a.n < b.n);
}

/* Puts the column in its place by the order of names. */
static void add_sorted(struct memo *m, const struct shape *shape, size_t at)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->at[i] == at)
			return;
	size_t i = m->n++;
	for (; i > 0 && is_before(shape->target[at], shape->target[m->at[i - 1]]); i--)
		m->at[i] = m->at[i - 1];
	m->at[i] = at;
}

static int find_key(const struct dest *d, const struct event *ev, const struct shape *shape,
	struct memo *m, struct err *e)
{
	struct span names[ACTION_KEY_MAX + 1];
	struct buf text = { 0 };
	size_t n = key_names(d, ev->type, &text, names), at;

	m->n = 0;
	if (n == 0)
		err_set(e, ERR_DATA, "the event names no primary key, which row_mode = keep_latest"
			" needs: set row_key");
	if (n > ACTION_KEY_MAX)
		err_set(e, ERR_DATA, "the event's key has more than %d columns", ACTION_KEY_MAX);
	for (size_t i = 0; i < n && !e->code; i++)
		if (find_column(d, shape, names[i], &at, e) == 0)
			add_sorted(m, shape, at);
	buf_free(&text);
	return e->code;
}

int action_key(struct way *w, const struct route *route, const struct event *ev,
	const struct shape *shape, const size_t **at, size_t *n, struct err *e)
{
	struct span type = key_type(ev->type);
	uint32_t id = route_shape_id(route, shape);

	if (!w->keys)
		w->keys = memset(mem_alloc(sizeof *w->keys), 0, sizeof *w->keys);
	struct memo *m = w->keys->memo, *end = m + MEMOS;
	while (m < end && (m->route != route || m->shape != id || m->ntype != type.n ||
	    memcmp(m->type, type.p, type.n) != 0))
		m++;
	if (m == end) {
		m = &w->keys->memo[w->keys->next++ % MEMOS];
		free(m->type);
		*m = (struct memo){ .route = NULL };
		if (find_key(w->dest, ev, shape, m, e) < 0)
			return e->code;
		m->route = route;
		m->shape = id;
		m->type = mem_str(type.p, type.n);
		m->ntype = type.n;
	}
	*at = m->at;
	*n = m->n;
	return 0;
}

int action_values(const struct shape *shape, const size_t *at, size_t n, const struct span *values,
	struct span *key, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		key[i] = values[at[i]];
		if (!key[i].p)
			return err_set(e, ERR_DATA, "column %.*s is of the key, and NULL or not in"
				" the event", (int)shape->target[at[i]].n,
				shape->target[at[i]].p);
	}
	return 0;
}
