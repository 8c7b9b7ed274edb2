/*
 * The config as a mode needs it: reading it, what it warns of, and what other files keep of it.
 */
#include <string.h>

#include "private.h"

int settings_read(const struct switches *asked, struct conf *conf, struct err *e)
{
	if (conf_load(conf, asked->file, asked->sets, asked->nsets, e) < 0)
		return e->code;
	if (asked->mode->traits & MODE_NO_SERVERS)
		return 0;
	if (conninfo_check("src_db", conf->src_db, e) < 0 ||
	    conninfo_check("dst_db", conf->dst_db, e) < 0)
		return e->code;
	if (asked->daemon && !conf->pidfile)
		return err_set(e, ERR_CONF, "%s: --daemon needs the key pidfile", conf->file);
	if ((asked->mode->traits & MODE_QUEUE) && !*conf->queue_name)
		return err_set(e, ERR_CONF, "%s: queue_name must be set for --%s", conf->file,
			asked->mode->name);
	return 0;
}

void settings_warn(const struct conf *conf, const struct conf *before)
{
	if (before && conf->warnings.len == before->warnings.len && (!conf->warnings.len ||
	    memcmp(conf->warnings.p, before->warnings.p, conf->warnings.len) == 0))
		return;
	for (const char *p = conf->warnings.p, *end = p + conf->warnings.len; p < end;) {
		size_t n = strcspn(p, "\n");
		log_warn("%.*s", (int)n, p);
		p += n + 1;
	}
	if (strcmp(conf->use_skylog, "0") != 0)
		log_info("use_skylog is accepted and ignored: there is no central logging, see"
			" logfile");
}

void settings_apply(const struct switches *asked, const struct conf *conf)
{
	int level = LVL_INFO + asked->verbosity;
	unsigned traits = asked->mode->traits;

	level = level < LVL_WARN ? LVL_WARN : level > LVL_TRACE ? LVL_TRACE : level;
	log_setup(conf->job_name, (enum log_level)level,
		(traits & MODE_LOG) && conf->log_format == LOG_JSON);
	pq_setup(conf->server_timeout);
}

int settings_open_log(const struct conf *conf, struct err *e)
{
	char why[512];

	if (log_open(conf->logfile, conf->log_size, (int)conf->log_count, why, sizeof why) < 0)
		return err_set(e, ERR_CONF, "%s", why);
	return 0;
}
