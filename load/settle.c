/*
 * The partitions that rows of a pass wait for: created inside the lanes' transactions, at once or
 * while a reader is read; or outside, before the rows.
 */
#include "private.h"

/* Rolls the batch back. From here on events are read only for their partitions; then the batch
 * starts over. */
static void begin_scan(struct pass *p)
{
	p->scan = true;
	inside_await(p->job);
	inside_rolled_back(&p->job->dests);
	job_close_lanes(p->job);
}

static bool finishes(const struct pass *p)
{
	return p->finishes && !p->careful;
}

/* After an error, unless the connection is lost: they are to be created before the rows. */
static int give_up_inside(struct pass *p, struct place *k, struct err *e)
{
	if (sqlstate_is_lost(e))
		return e->code;
	log_debug("new partitions are rolled back and created before the batch: %s", e->msg);
	*e = (struct err){ 0 };
	p->outside |= !missing_has_refused(k);
	begin_scan(p);
	return 0;
}

/* Creates the wanted partitions inside our transactions. 0; 1: create them outside; or an error. */
static int enter(struct pass *p, struct place *k, struct err *e)
{
	if (send_free(p, e) < 0)
		return e->code;
	int64_t event = -1;
	int rc = inside_create(k, p->job, finishes(p), &event, e);
	if (rc >= 0 || give_up_inside(p, k, e) < 0)
		return rc;
	return missing_any(k);
}

/* ---- partitions that are created while a reader is read */

/* Where all its rows go; NULL without a reader. */
static struct place *readers_place(const struct pass *p)
{
	return p->reader && !p->place ? p->reader->way->place : NULL;
}

static bool lane_waits(const struct place *k, size_t lane)
{
	return k && (making_busy(k, lane) || making_left(k, lane));
}

bool settle_waits(const struct pass *p, size_t lane)
{
	return lane_waits(readers_place(p), lane);
}

bool settle_makes(const struct pass *p)
{
	const struct place *k = readers_place(p);

	for (size_t i = 0; i < p->job->lanes; i++)
		if (lane_waits(k, i))
			return true;
	return false;
}

/* Goes on in all lanes that wait for partitions and whose COPYs have ended: then each lane that
 * still waits does so for its server. */
static int make_some(struct pass *p, struct place *k, struct err *e)
{
	for (size_t i = 0; i < p->job->lanes; i++) {
		int step = PQ_END;
		while (step == PQ_END && lane_waits(k, i)) {
			int rc = making_busy(k, i) ? 0 : send_lane(p, i, SINK_PLANNED, e);
			if (rc < 0)
				return e->code;
			if (rc > 0)
				break;
			if ((!making_busy(k, i) && making_begin(k, p->job, i, e) < 0) ||
			    (step = making_step(k, p->job, i, e)) < 0)
				return give_up_inside(p, k, e);
		}
	}
	return 0;
}

/* May partitions of the place be created so? */
static bool goes_on(const struct pass *p, const struct place *k)
{
	return k && p->all_load && !p->scan && !p->outside && inside_goes_on(k);
}

static int make_rest(struct pass *p, struct err *e)
{
	struct place *k = readers_place(p);

	while (goes_on(p, k) && settle_makes(p))
		if (make_some(p, k, e) < 0 || (settle_makes(p) && send_wait(p, false, -1, e) < 0))
			break;
	p->judged |= e->code != 0;
	return e->code;
}

int settle_some(struct pass *p, struct err *e)
{
	struct place *k = readers_place(p);

	if (!goes_on(p, k))
		return settle_all(p, e);
	return make_some(p, k, e) < 0 ? e->code : p->scan ? settle_all(p, e) : 0;
}

/* ---- partitions that are created at once */

/* Where new partitions are counted, the whole batch is read before the first is created: of a batch
 * with too many none is. 0: nothing is to be created yet; 1; or an error. */
static int count_new(struct pass *p, struct place *k, int64_t *event, struct err *e)
{
	if (missing_look(k, p->job, event, e) < 0)
		return e->code;
	if (!missing_any(k))
		return 0;
	if (!p->scan && !p->read)
		begin_scan(p);
	return p->read;
}

/* A value of a list is refused: the rows that wait for its partition are dropped, and the batch
 * starts over without them. */
static void start_without(struct pass *p, struct err *e)
{
	log_debug("the batch starts over: %s", e->msg);
	*e = (struct err){ 0 };
	begin_scan(p);
}

/* Makes sure that the place's partitions exist for which rows wait. */
static int settle_place(struct pass *p, struct place *k, struct err *e)
{
	int rc = 1;
	int64_t event = -1;

	if (!p->scan && !p->outside && inside_may(k, p->job, finishes(p)))
		rc = enter(p, k, e);
	if (rc > 0 && missing_counts(k))
		rc = count_new(p, k, &event, e);
	/* what waits in our transactions may be what is in the way */
	bool held = !p->scan && (sink_begun(p->sink) || inside_any(&p->job->dests));
	if (rc > 0)
		rc = outside_create(k, p->job, held, &event, e);
	if (rc > 0) {
		begin_scan(p);
		rc = outside_create(k, p->job, false, &event, e);
	}
	if (rc < 0 && missing_has_refused(k)) {
		start_without(p, e);
		return missing_any(k) ? settle_place(p, k, e) : 0;
	}
	if (event >= 0) {
		p->event = event;
		p->fault = (struct sink_fault){ .event = -1 };
	}
	p->judged = rc < 0;
	return rc;
}

int settle_all(struct pass *p, struct err *e)
{
	const struct dests *ds = &p->job->dests;
	bool scan;

	if (p->place)
		return 0;
	if (make_rest(p, e) < 0)
		return e->code;
	do {
		scan = p->scan;
		for (size_t i = 0; i < ds->nplace; i++)
			if (missing_any(ds->place[i]) && settle_place(p, ds->place[i], e) < 0)
				return e->code;
	} while (p->scan != scan);
	return 0;
}
