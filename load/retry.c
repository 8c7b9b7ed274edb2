/*
 * After an error: whether to try again, how soon, and what to say.
 *
 * A lasting error is logged when it begins, when its text changes, now and then, and when it is
 * over; not at each try.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

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

static bool is_passing(int code)
{
	return code == ERR_CONN || code == ERR_CONFLICT || code == ERR_READONLY;
}

/* The error's SQLSTATE and the beginning of its message without numbers: server processes and
 * seconds differ from try to try. */
static void words_of(const struct err *e, char *out, size_t size)
{
	size_t n = (size_t)snprintf(out, size, "%s ", e->sqlstate);

	for (const char *message = e->msg; *message && n + 1 < size; message++)
		if (*message < '0' || *message > '9')
			out[n++] = *message;
	out[n] = 0;
}

/* Is it another error, or are there other words for it? Those of lost connections and conflicts
 * differ from try to try. */
static bool is_news(const struct retry *r, const struct err *e)
{
	char words[sizeof r->said];

	if (r->tries == 1 || (e->code == ERR_TIMEOUT && r->tries == TIMEOUT_TRIES))
		return true;
	words_of(e, words, sizeof words);
	return !is_passing(e->code) && strcmp(r->said, words) != 0;
}

/* The error, and what comes next. ms: until the next try. */
static void add_outlook(const struct retry *r, const struct err *e, int64_t ms, struct buf *line)
{
	const char *setting = r->tries >= TIMEOUT_TRIES ? sqlstate_setting(e->sqlstate) : NULL;

	buf_fmt(line, "%s%s", e->msg, hint(e));
	if (e->code == ERR_TIMEOUT && setting)
		buf_fmt(line, "; %d times in a row: see %s of the role and the database", r->tries,
			setting);
	buf_str(line, "; trying again");
	if (!is_passing(e->code))
		buf_fmt(line, " in %" PRId64 " s", ms / 1000);
}

/* What lasts is told of now and then, with the present reason. */
static void tell(struct retry *r, const struct err *e, bool news, int64_t ms)
{
	int64_t lasted_ms = clock_ms() - r->since_ms;
	struct buf line = { 0 };

	add_outlook(r, e, ms, &line);
	if (lasted_ms >= health_remind_ms(r->reminders)) {
		log_error("failing for %" PRId64 " s, %d attempts: %s", lasted_ms / 1000,
			r->attempts, buf_cstr(&line));
		while (health_remind_ms(r->reminders) <= lasted_ms)
			r->reminders++;
	} else {
		(!news ? log_debug : is_passing(e->code) ? log_warn : log_error)("%s",
			buf_cstr(&line));
	}
	words_of(e, r->said, sizeof r->said);
	buf_free(&line);
}

static void count(struct retry *r, int code)
{
	if (!r->code)
		r->since_ms = clock_ms();
	r->tries = r->code == code ? r->tries + 1 : 1;
	r->code = code;
	r->attempts++;
}

int64_t retry_after(struct retry *r, const struct conf *conf, const struct err *e, bool lost)
{
	count(r, e->code);
	int64_t ms = try_again(r, conf, e->code) ? pause_ms(r, conf, e->code) : -1;
	if (ms < 0)
		log_error("%s%s", e->msg, hint(e));
	else
		tell(r, e, lost || is_news(r, e), ms);
	int64_t left_ms = r->since_ms + conf->retry_limit - clock_ms();
	if (!r->once || ms < 0 || left_ms >= ms)
		return ms;
	return left_ms > 0 ? left_ms : 0;
}

void retry_success(struct retry *r)
{
	if (r->code)
		log_info("working again after %" PRId64 " s and %d attempt%s",
			(clock_ms() - r->since_ms) / 1000, r->attempts, text_s(r->attempts));
	r->code = r->tries = r->attempts = r->reminders = 0;
}
