/*
 * One face for what others see of a run: report, for other processes, and progress, for whoever is
 * watching. The rest of the program calls only this.
 */
#include "load.h"

void watch_start(struct watch *w, const struct conf *conf)
{
	report_start(&w->report, conf);
}

void watch_show(struct watch *w, enum progress_kind kind)
{
	progress_begin(&w->progress, kind);
	w->shown = true;
}

/* The smaller of two limits in ms; negative: no limit. */
static int64_t sooner(int64_t a, int64_t b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

int64_t watch_pass(struct watch *w, int64_t events, int64_t bytes)
{
	if (!w)
		return -1;
	return sooner(w->shown ? progress_show(&w->progress, events) : -1,
		report_progress(&w->report, events, bytes));
}

void watch_verify(struct watch *w, bool on)
{
	if (w)
		w->progress.verifying = on;
}

void watch_alive(struct watch *w)
{
	if (w)
		report_alive(&w->report);
}

void watch_partition(struct watch *w, struct span name, bool ahead)
{
	log_info("created partition %.*s%s", (int)name.n, name.p, ahead ? " ahead of time" : "");
	if (!w)
		return;
	w->parts += !ahead;
	w->progress.parts++;
	report_partition(&w->report);
}

int64_t watch_partitions(const struct watch *w)
{
	return w ? w->parts : 0;
}

void watch_batch(struct watch *w, const struct load *load, const struct tally *rows,
	const struct dead_list *dead)
{
	if (!w)
		return;
	w->parts = 0;
	report_batch(&w->report, load, dead);
	if (w->shown)
		progress_batch(&w->progress, load, rows);
}

void watch_error(struct watch *w, const struct err *e)
{
	w->progress.errors++;
	report_error(&w->report, e);
}

void watch_end(struct watch *w, const char *how, bool failed)
{
	if (w->shown)
		progress_end(&w->progress, how);
	report_end(&w->report, failed);
}
