/* Tests of ticker.c: who ticks a queue. Its process is tested end to end. */
#include "../../base/buf.c"
#include "../../report/ticker.c"
#include "unit.h"

/* What of pg and base is only linked. */
int ticker_look(struct pq *q, const char *queue, struct ticker_look *l, struct err *e)
{
	(void)q, (void)queue, (void)l, (void)e;
	return -1;
}

int ticker_tick(struct pq *q, const char *queue, const struct ticker_look *l, int64_t *tick,
	struct err *e)
{
	(void)q, (void)queue, (void)l, (void)tick, (void)e;
	return -1;
}

int ticker_maintain(struct pq *q, const char *queue, struct err *e)
{
	(void)q, (void)queue, (void)e;
	return -1;
}

int ticker_force(struct pq *q, const char *queue, int64_t *txid, struct err *e)
{
	(void)q, (void)queue, (void)txid, (void)e;
	return -1;
}

int ticker_sees(struct pq *q, const char *queue, int64_t txid, int64_t *tick, struct err *e)
{
	(void)q, (void)queue, (void)txid, (void)tick, (void)e;
	return -1;
}

int ticker_denied(struct pq *q, struct err *e)
{
	(void)q, (void)e;
	return -1;
}

struct pq *queue_open(const struct conf *c, const char *encoding, struct err *e)
{
	(void)c, (void)encoding, (void)e;
	return NULL;
}

void pq_close(struct pq *q)
{
	(void)q;
}

bool process_sleep(int64_t ms)
{
	return ms > 0;
}

void process_child(pid_t parent, int fd)
{
	(void)parent, (void)fd;
}

int64_t clock_ms(void)
{
	return 1;
}

struct step {
	int64_t at_s, tick, age_s, unticked;
	bool only, paused, pgqd;
	enum ticker_role wanted;
};

/* Steps until one at 0 s; the queue has an idle period of 60 s and a lag of 3 s. A step with tick 0
 * is our own tick after the step before. */
static void play(const char *name, const struct step *s)
{
	struct ticker_mind m = { 0 };

	for (int i = 0; s->at_s; s++, i++) {
		struct ticker_look l = {
			.tick = s->tick, .age_ms = s->age_s * 1000, .only = s->only,
			.unticked = s->unticked, .lag_ms = 3000, .idle_ms = 60000,
			.paused = s->paused, .pgqd = s->pgqd,
		};
		char what[80];
		snprintf(what, sizeof what, "%s, step %d", name, i);
		check_int(what, judge(&m, &l, s->at_s * 1000), s->wanted);
		if (m.role == TICKER_TICKS)
			m.seen = l.tick + 1;
	}
}

int main(void)
{
	play("a new queue", (const struct step[]){
		{ 1, 1, 2, 0, true, false, false, TICKER_TICKS },
		{ 2, 2, 1, 0, false, false, false, TICKER_TICKS }, { 0 } });
	play("a queue without any tick", (const struct step[]){
		{ 1, 0, 0, 0, true, false, false, TICKER_TICKS }, { 0 } });
	play("an old queue nobody ticks", (const struct step[]){
		{ 1, 7, 66, 0, false, false, false, TICKER_TICKS }, { 0 } });
	play("events wait at the start", (const struct step[]){
		{ 10, 7, 9, 5, false, false, false, TICKER_STANDS_BY },
		{ 15, 7, 14, 5, false, false, false, TICKER_STANDS_BY },
		{ 16, 7, 15, 5, false, false, false, TICKER_TICKS }, { 0 } });
	play("no event waits at the start", (const struct step[]){
		{ 10, 7, 9, 0, false, false, false, TICKER_STANDS_BY },
		{ 30, 7, 29, 0, false, false, false, TICKER_STANDS_BY },
		{ 66, 7, 65, 0, false, false, false, TICKER_STANDS_BY },
		{ 67, 7, 66, 0, false, false, false, TICKER_TICKS }, { 0 } });
	play("another ticks, and is silent later", (const struct step[]){
		{ 10, 7, 1, 5, false, false, false, TICKER_STANDS_BY },
		{ 13, 8, 1, 5, false, false, false, TICKER_STANDS_BY },
		{ 70, 8, 58, 5, false, false, false, TICKER_STANDS_BY },
		{ 78, 8, 66, 5, false, false, false, TICKER_TICKS }, { 0 } });
	play("another begins while we tick", (const struct step[]){
		{ 10, 7, 66, 5, false, false, false, TICKER_TICKS },
		{ 11, 8, 1, 5, false, false, false, TICKER_TICKS },
		{ 12, 10, 1, 5, false, false, false, TICKER_STANDS_BY },
		{ 20, 10, 9, 5, false, false, false, TICKER_STANDS_BY }, { 0 } });
	play("pgqd connects, and goes", (const struct step[]){
		{ 10, 7, 66, 5, false, false, false, TICKER_TICKS },
		{ 11, 8, 1, 5, false, false, true, TICKER_STANDS_BY },
		{ 100, 8, 90, 5, false, false, true, TICKER_STANDS_BY },
		{ 101, 9, 1, 5, false, false, false, TICKER_STANDS_BY },
		{ 120, 9, 20, 5, false, false, false, TICKER_STANDS_BY },
		{ 166, 9, 66, 5, false, false, false, TICKER_TICKS }, { 0 } });
	play("paused", (const struct step[]){
		{ 10, 7, 66, 5, false, true, false, TICKER_PAUSED },
		{ 11, 7, 67, 5, false, false, false, TICKER_TICKS }, { 0 } });
	return unit_end();
}
