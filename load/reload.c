/*
 * Reading the config again while a run goes on.
 */
#include <string.h>

#include "run.h"

static bool is_same(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

static int open_new(struct run *r, const struct conf *conf, struct err *e)
{
	if (settings_open_log(conf, e) < 0 ||
	    is_same(conf->metrics_listen, r->conf->metrics_listen))
		return e->code;
	return service_move(r, conf->metrics_listen, e);
}

bool reload_read(struct run *r, struct conf *conf)
{
	const char *pidfile = r->conf->pidfile;
	struct err e = { 0 };

	if (settings_read(r->asked, conf, &e) < 0 || open_new(r, conf, &e) < 0) {
		conf_free(conf);
		settings_open_log(r->conf, &(struct err){ 0 });
		log_error("not reloaded, the old config stays: %s", e.msg);
		return false;
	}
	if (!is_same(conf->pidfile, pidfile))
		log_warn("the pidfile stays %s until the next start", pidfile ? pidfile : "unset");
	return true;
}

static void replace_conf(struct run *r, struct conf *conf)
{
	const struct dest *old = &r->conf->dest, *new = &conf->dest;
	struct dests *dests = &r->job.dests;
	bool keeps = !r->conf->nrule && !conf->nrule && dests->nplace &&
		is_same(new->part_keep, old->part_keep) &&
		is_same(new->dest_table, old->dest_table);
	int64_t keep_at_ms = keeps ? dests->place[0]->keep_at_ms : 0;

	batch_free(&r->loader);
	job_free(&r->job);
	watch_moves(&r->watch, conf);
	struct conf old_conf = *r->conf;
	*r->conf = *conf;
	zone_take(r->conf->zone, old_conf.zone);
	if (keeps) {                    /* the next look for old partitions is when it was to be */
		dests_open(dests, r->conf, &r->job.style);
		dests->place[0]->keep_at_ms = keep_at_ms;
	}
	settings_apply(r->asked, r->conf);
	settings_warn(r->conf, &old_conf);
	conf_free(&old_conf);
}

void reload_take(struct run *r, struct conf *conf)
{
	ticker_stop(&r->ticker);
	replace_conf(r, conf);
	service_tick(r);
	log_info("config %s read again", r->conf->file);
}
