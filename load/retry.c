/*
 * After an error: whether to try again, how soon, and what to say.
 *
 * A lasting error is logged when it begins and when it is over, not at each try.
 */
#include <stdlib.h>

#include "load.h"

#define CONN_PAUSE_MS 1000              /* after the first lost connection; doubles each time */
#define CONFLICT_PAUSE_MS 200
#define TIMEOUT_TRIES 3                 /* timeouts in a row before they are reported */

/* From half of ms to ms, so that processes that failed together do not come back together. */
static int64_t jitter(int64_t ms)
{
	return ms / 2 + (ms > 1 ? rand() % (ms / 2 + 1) : 0);
}

/* After a lost connection: short pauses first, then longer and longer ones. */
static int64_t pause_ms(const struct retry *r, const struct conf *conf, int code)
{
	int64_t ms = CONN_PAUSE_MS, most = 3 * conf->exception_sleep;

	switch (code) {
	case ERR_CONFLICT:
		return jitter(2 * CONFLICT_PAUSE_MS);
	case ERR_CONN:
	case ERR_READONLY:
		for (int i = 1; i < r->tries && ms < most; i++)
			ms *= 2;
		return jitter(ms < most ? ms : most);
	default:
		return conf->exception_sleep;
	}
}

static bool can_recover(int code)
{
	return code != ERR_DATA && code != ERR_SHAPE && code != ERR_POSITION && code != ERR_CONF;
}

static bool try_again(const struct retry *r, const struct conf *conf, int code)
{
	if (!can_recover(code))
		return false;
	if (!r->once)
		return !r->attended || code != ERR_RIGHTS;
	switch (code) {
	case ERR_CONN:
	case ERR_READONLY:
	case ERR_CONFLICT:
		return clock_ms() - r->since_ms < conf->retry_limit;
	case ERR_TIMEOUT:
		return r->tries < TIMEOUT_TRIES;
	default:
		return false;
	}
}

/* What to do about "permission denied". */
static const char *hint(const struct err *e)
{
	return sqlstate_is(e->sqlstate, SQLSTATE_DENIED) ?
		"; --check says which GRANT is missing" : "";
}

/* ms: until the next try; -1: there is none. */
static void tell(const struct retry *r, const struct err *e, bool news, int64_t ms)
{
	const char *setting = r->tries >= TIMEOUT_TRIES ? sqlstate_setting(e->sqlstate) : NULL;
	long long seconds = ms / 1000;

	if (ms < 0)
		log_error("%s%s", e->msg, hint(e));
	else if (e->code == ERR_CONN || e->code == ERR_CONFLICT || e->code == ERR_READONLY)
		(news ? log_warn : log_debug)("%s; trying again", e->msg);
	else if (e->code == ERR_TIMEOUT && setting)
		log_error("%s; %d times in a row: see %s of the role and the database; trying again"
			" in %lld s", e->msg, r->tries, setting, seconds);
	else
		log_error("%s%s; trying again in %lld s", e->msg, hint(e), seconds);
}

int64_t retry_after(struct retry *r, const struct conf *conf, const struct err *e, bool lost)
{
	bool news = r->code != e->code;

	if (news) {
		r->tries = 0;
		if (!r->code)
			r->since_ms = clock_ms();
	}
	r->tries++;
	int64_t ms = try_again(r, conf, e->code) ? pause_ms(r, conf, e->code) : -1;
	tell(r, e, news || lost, ms);
	r->code = e->code;
	int64_t left_ms = r->since_ms + conf->retry_limit - clock_ms();
	if (!r->once || ms < 0 || left_ms >= ms)
		return ms;
	return left_ms > 0 ? left_ms : 0;
}

void retry_success(struct retry *r)
{
	if (r->code)
		log_info("working again");
	r->code = r->tries = 0;
}
