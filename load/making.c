/*
 * Creating partitions in the transaction of a lane (inside.c) without waiting for it: the lane
 * looks which are there, and creates the others. Meanwhile rows are read, and other lanes work.
 */
#include <string.h>

#include "parts.h"

#define TOGETHER_MAX 256                /* in a message, which the server reads as a whole */
#define INDEXED_LAST_MAX 1000           /* of those created inside; more cost the server time */

/* ---- the lists */

bool making_busy(const struct place *at, size_t lane)
{
	const struct parts *k = at->parts;

	return k && k->making && k->making[lane].list.n;
}

bool making_left(const struct place *at, size_t lane)
{
	const struct part_list *want = &at->parts->want;

	for (size_t i = 0; i < want->n; i++)
		if (want->at[i].lane == lane)
			return true;
	return false;
}

/* Moves some of what is requested of the lane to its list. */
static void take(struct parts *k, size_t lane)
{
	struct part_list *list;
	size_t left = 0;

	if (!k->making) {
		k->making = mem_alloc(LANES_MAX * sizeof *k->making);
		memset(k->making, 0, LANES_MAX * sizeof *k->making);
	}
	list = &k->making[lane].list;
	for (size_t i = 0; i < k->want.n; i++)
		if (k->want.at[i].lane == lane && list->n < TOGETHER_MAX)
			missing_put(list, &k->want.at[i]);
		else
			k->want.at[left++] = k->want.at[i];
	k->want.n = left;
	k->making[lane].creates = false;
}

/* ---- what the lane does */

/* The model of the lane's partitions that are there; 0: there is none. */
static uint64_t model_of(const struct parts *k, size_t lane)
{
	for (size_t i = 0; i < k->made.n; i++)
		if (k->made.at[i].lane == lane && k->made.at[i].model)
			return k->made.at[i].model;
	return 0;
}

/* Sets how much of each is done before its rows. */
static void share_out(struct parts *k, struct part_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		struct part_new *new = &list->at[i];
		bool late = k->last && k->made.n + i < INDEXED_LAST_MAX;
		if (k->last)
			new->first = late ? new->split.tail : new->split.attach;
		new->indexes = late && k->copies ? &k->indexes : NULL;
	}
}

/* Sends what creates those that are not there. */
static int create(struct place *at, struct job *j, size_t lane, struct err *e)
{
	struct parts *k = at->parts;
	struct part_list *list = &k->making[lane].list;
	bool models = k->split.inherits && j->lanes > 1;
	uint64_t model = model_of(k, lane), new_model = 0;

	if (build_looked(j->dst[lane], at->dest, list->at, list->n, e) < 0)
		return e->code;
	missing_sort_out(at, list);
	if (!list->n)
		return PQ_END;
	if (models && !model)
		model = new_model = build_model(list->at);
	for (size_t i = 0; models && i < list->n; i++)
		list->at[i].model = model;
	share_out(k, list);
	k->making[lane].creates = true;
	return build_begin(j->dst[lane], at->dest, list->at, list->n, new_model,
		DDL_LOCK_TIMEOUT_MS, e) < 0 ? e->code : PQ_WAIT;
}

/* They are created. */
static int end(struct place *at, struct job *j, size_t lane, struct err *e)
{
	struct part_list *list = &at->parts->making[lane].list;

	if (build_made(j->dst[lane], list->at, list->n, e) < 0)
		return e->code;
	for (size_t i = 0; i < list->n; i++)
		known_add(&at->known, list->at[i].start_s);
	missing_move(&at->parts->made, list);
	return PQ_END;
}

int making_begin(struct place *at, struct job *j, size_t lane, struct err *e)
{
	struct parts *k = at->parts;

	take(k, lane);
	const struct part_list *list = &k->making[lane].list;
	if (!j->loads[lane])
		return err_set(e, ERR_CONFLICT, "partition %s is gone, whose lane has the batch",
			list->at[0].name);
	return build_look(j->dst[lane], at->dest, list->at, list->n, e);
}

int making_step(struct place *at, struct job *j, size_t lane, struct err *e)
{
	struct parts *k = at->parts;
	int step = PQ_END;

	while (making_busy(at, lane) && (step = build_step(j->dst[lane], e)) == PQ_END) {
		step = k->making[lane].creates ? end(at, j, lane, e) : create(at, j, lane, e);
		if (step < 0)
			break;
	}
	if (step < 0 && k->making[lane].creates)
		k->fails_inside = !sqlstate_is_lost(e) && !missing_waits(e);
	return step < 0 ? e->code : step;
}
