/*
 * What a run has besides loading: it listens for those who ask for its metrics, and ticks.
 */
#include "run.h"

/* Two processes may run with one config: --once beside a daemon, which is left to answer. */
static int open_listener(struct run *r, const char *address, struct err *e)
{
	if (r->watch.report.silent || listen_open(&r->listen, address, e) < 0)
		return e->code;
	report_listen(&r->watch.report, address ? &r->listen : NULL);
	return 0;
}

int service_listen(struct run *r)
{
	struct err e = { 0 };

	if (open_listener(r, r->conf->metrics_listen, &e) == 0)
		return 0;
	(r->asked->once ? log_warn : log_error)("%s", e.msg);
	return r->asked->once ? 0 : e.code;
}

int service_move(struct run *r, const char *to, struct err *e)
{
	listen_close(&r->listen);
	if (open_listener(r, to, e) < 0)
		open_listener(r, r->conf->metrics_listen, &(struct err){ 0 });
	return e->code;
}

/* A finite run leaves the queue as it is; for that there is --tick. */
void service_tick(struct run *r)
{
	r->watch.ticker = run_is_one_off(r) ? NULL : &r->ticker;
	if (r->watch.ticker)
		ticker_start(&r->ticker, r->conf);
}

void service_end(struct run *r)
{
	ticker_stop(&r->ticker);
	listen_close(&r->listen);
}
