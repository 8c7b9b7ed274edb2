/*
 * The keys: a table of their names, types and defaults, in the order of the manual; and converting
 * values between text and struct conf.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

#define LETTERS_MAX 40                  /* of a name that is compared with those of keys */
#define SECONDS_MAX 999999999           /* about 30 years */

#define AT(member) .at = offsetof(struct conf, member)

const struct key key_table[] = {
	{ "job_name", NULL, KEY_STRING, AT(job_name), NULL, true },
	{ "pidfile", NULL, KEY_PATH, AT(pidfile) },
	{ "state_file", NULL, KEY_PATH, AT(state_file) },
	{ "metrics_file", NULL, KEY_PATH, AT(metrics_file) },
	{ "metrics_listen", NULL, KEY_PATH, AT(metrics_listen) },
	{ "logfile", NULL, KEY_PATH, AT(logfile) },
	{ "log_size", NULL, KEY_INT, AT(log_size), "10485760", .max = INT64_MAX },
	{ "log_count", NULL, KEY_INT, AT(log_count), "3", .max = 1000 },
	{ "log_format", NULL, KEY_WORD, AT(log_format), "text", .words = "text json" },
	{ "log_interval", NULL, KEY_SECONDS, AT(log_interval), "0" },
	{ "use_skylog", NULL, KEY_STRING, AT(use_skylog), "0" },
	{ "loop_delay", NULL, KEY_SECONDS, AT(loop_delay), "1" },
	{ "exception_sleep", NULL, KEY_SECONDS, AT(exception_sleep), "20" },
	{ "connection_lifetime", NULL, KEY_SECONDS, AT(connection_lifetime), "1200" },
	{ "queue_name", "pgq_queue_name", KEY_STRING, AT(queue_name), NULL, true },
	{ "consumer_name", "pgq_consumer_id", KEY_STRING, AT(consumer_name), "%(job_name)s", true },
	{ "src_db", NULL, KEY_CONNINFO, AT(src_db), NULL, true },
	{ "dst_db", NULL, KEY_CONNINFO, AT(dst_db), NULL, true },
	{ "dest_table", NULL, KEY_STRING, AT(dest.dest_table), NULL, true },
	{ "fields", NULL, KEY_STRING, AT(dest.fields), "*", true },
	{ "skip_fields", NULL, KEY_STRING, AT(dest.skip_fields) },
	{ "on_missing", NULL, KEY_WORD, AT(dest.on_missing), "error",
		.words = "error null default" },
	{ "row_mode", NULL, KEY_WORD, AT(dest.row_mode), "log",
		.words = "log keep_all keep_latest" },
	{ "row_key", NULL, KEY_STRING, AT(dest.row_key) },
	{ "on_truncate", NULL, KEY_WORD, AT(dest.on_truncate), "error", .words = "error skip" },
	{ "tables", NULL, KEY_STRING, AT(tables) },
	{ "event_types", NULL, KEY_STRING, AT(dest.event_types) },
	{ "event_format", NULL, KEY_WORD, AT(event_format), "auto",
		.words = "auto urlencoded json" },
	{ "event_order", NULL, KEY_WORD, AT(event_order), "none", .words = "none id" },
	{ "part_field", "part_column", KEY_STRING, AT(dest.part_field) },
	{ "part_method", NULL, KEY_STRING, AT(dest.part_method), "daily", true },
	{ "part_list_max", NULL, KEY_INT, AT(dest.part_list_max), "100", .min = 1,
		.max = 1000000 },
	{ "part_timezone", NULL, KEY_STRING, AT(dest.part_timezone), "text", true },
	{ "part_template", NULL, KEY_STRING, AT(dest.part_template) },
	{ "part_keep", "part_retention", KEY_STRING, AT(dest.part_keep) },
	{ "part_keep_action", NULL, KEY_WORD, AT(dest.part_keep_action), "drop",
		.words = "drop detach" },
	{ "part_late", NULL, KEY_WORD, AT(dest.part_late), "create", .words = "create skip error" },
	{ "part_premake", NULL, KEY_INT, AT(dest.part_premake), "0", .max = 1000 },
	{ "queue_schema", NULL, KEY_WORD, AT(queue_schema), "auto", .words = "auto pgq pgque" },
	{ "ticker", NULL, KEY_INT, AT(ticker), "0", .max = 1 },
	{ "ticker_period", NULL, KEY_SECONDS, AT(ticker_period), "1" },
	{ "batch_min_events", NULL, KEY_INT, AT(batch_min_events), "200000", .max = INT32_MAX },
	{ "lanes", "workers", KEY_INT, AT(lanes), "1", .min = 1, .max = LANES_MAX },
	{ "from_table", NULL, KEY_STRING, AT(from_table) },
	{ "from_where", NULL, KEY_STRING, AT(from_where) },
	{ "from_key", NULL, KEY_STRING, AT(from_key) },
	{ "from_slice", NULL, KEY_INT, AT(from_slice), "268435456", .min = 8192, .max = INT64_MAX },
	{ "from_snapshot", NULL, KEY_WORD, AT(from_snapshot), "table", .words = "table slice" },
	{ "on_error", NULL, KEY_WORD, AT(on_error), "stop", .words = "stop dead_letter skip" },
	{ "max_errors", NULL, KEY_INT, AT(max_errors), "1000", .max = DEAD_MAX },
	{ "retry_limit", NULL, KEY_SECONDS, AT(retry_limit), "60" },
	{ "server_timeout", NULL, KEY_SECONDS, AT(server_timeout), "900" },
};

const size_t key_count = sizeof key_table / sizeof *key_table;

const struct key *key_find(const char *name)
{
	for (const struct key *key = key_table; key < key_table + key_count; key++)
		if (strcmp(name, key->name) == 0 || (key->alias && strcmp(name, key->alias) == 0))
			return key;
	return NULL;
}

bool key_is_of_dest(const struct key *key)
{
	size_t start = offsetof(struct conf, dest);

	return key->at >= start && key->at < start + sizeof(struct dest);
}

static void *member(const struct key *key, const struct conf *conf, const struct dest *dest)
{
	if (key_is_of_dest(key))
		return (void *)((uintptr_t)dest + key->at - offsetof(struct conf, dest));
	return (void *)((uintptr_t)conf + key->at);
}

char **key_text(const struct key *key, const struct conf *conf, const struct dest *dest)
{
	bool text = key->type == KEY_STRING || key->type == KEY_PATH || key->type == KEY_CONNINFO;

	return text ? member(key, conf, dest) : NULL;
}

/* ---- misspelt names */

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* How many letters are to be added, removed, replaced, or exchanged with their neighbour to make b
 * of a; LETTERS_MAX if either is too long to be compared. */
static size_t distance(const char *a, const char *b)
{
	size_t d[LETTERS_MAX + 1][LETTERS_MAX + 1], n = strlen(a), m = strlen(b);

	if (n > LETTERS_MAX || m > LETTERS_MAX)
		return LETTERS_MAX;
	for (size_t i = 0; i <= n; i++)
		d[i][0] = i;
	for (size_t k = 0; k <= m; k++)
		d[0][k] = k;
	for (size_t i = 1; i <= n; i++)
		for (size_t k = 1; k <= m; k++) {
			d[i][k] = least(d[i - 1][k], d[i][k - 1]) + 1;
			d[i][k] = least(d[i][k], d[i - 1][k - 1] + (a[i - 1] != b[k - 1]));
			if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
				d[i][k] = least(d[i][k], d[i - 2][k - 2] + 1);
		}
	return d[n][m];
}

void key_compare(const char *name, const char *known, size_t *best, const char **like)
{
	size_t differ = known ? distance(name, known) : *best;

	if (differ < *best) {
		*best = differ;
		*like = known;
	}
}

size_t key_unlike(const char *name)
{
	return least(strlen(name) / 3, 3) + 1;          /* a letter in three, and three at most */
}

const char *key_like(const char *name)
{
	size_t best = key_unlike(name);
	const char *like = NULL;

	for (size_t i = 0; i < key_count; i++) {
		key_compare(name, key_table[i].name, &best, &like);
		key_compare(name, key_table[i].alias, &best, &like);
	}
	return like;
}

/* ---- from text */

static bool parse_int(const struct key *key, const char *text, int64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoll(text, &end, 10);
	return !errno && end != text && !*end && *value >= key->min && *value <= key->max;
}

/* Takes the next word off *words; the empty span at the end. */
static struct span next_word(const char **words)
{
	struct span word = { *words, strcspn(*words, " ") };

	*words += word.n + strspn(*words + word.n, " ");
	return word;
}

static bool parse_word(const struct key *key, const char *text, unsigned *value)
{
	const char *words = key->words;

	for (*value = (unsigned)key->min; *words; ++*value)
		if (span_is(next_word(&words), text))
			return true;
	return false;
}

static struct span word_of(const struct key *key, unsigned value)
{
	const char *words = key->words;

	for (unsigned n = (unsigned)key->min; n < value; n++)
		next_word(&words);
	return next_word(&words);
}

/* Reads what Python's float() reads, in whole milliseconds; a positive value is never rounded to
 * 0. */
static bool parse_seconds(const char *text, int64_t *ms)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || text[strspn(text, "0123456789.eE+-")])
		return false;
	if (seconds < 0 || seconds > SECONDS_MAX)
		return false;
	*ms = (int64_t)(seconds * 1000 + 0.5);
	if (seconds > 0 && *ms == 0)
		*ms = 1;
	return true;
}

static char *expand_home(char *path)
{
	const char *home = getenv("HOME");
	struct buf b = { 0 };

	if (path[0] != '~' || (path[1] && path[1] != '/') || !home)
		return path;
	buf_fmt(&b, "%s%s", home, path + 1);
	buf_cstr(&b);
	free(path);
	return b.p;
}

/* Appends why the value is invalid, for a key whose type is not text. */
static void say_wanted(const struct key *key, struct buf *why)
{
	const char *words = key->words;

	if (key->type == KEY_INT)
		buf_fmt(why, "not a whole number from %" PRId64 " to %" PRId64, key->min, key->max);
	else if (key->type == KEY_SECONDS)
		buf_fmt(why, "not a number of seconds from 0 to %d", SECONDS_MAX);
	for (const char *before = "neither "; key->type == KEY_WORD && *words;) {
		struct span word = next_word(&words);
		buf_fmt(why, "%s%.*s", *words ? before : " nor ", (int)word.n, word.p);
		before = ", ";
	}
}

static bool parse(const struct key *key, const char *text, void *at)
{
	switch (key->type) {
	case KEY_INT:
		return parse_int(key, text, at);
	case KEY_WORD:
		return parse_word(key, text, at);
	default:
		return parse_seconds(text, at);
	}
}

int key_store(const struct key *key, struct conf *conf, struct dest *dest, char *value,
	struct err *e)
{
	struct buf why = { 0 };
	char **text = key_text(key, conf, dest);

	if (text) {
		*text = key->type == KEY_PATH ? expand_home(value) : value;
		return 0;
	}
	if (!parse(key, value, member(key, conf, dest))) {
		say_wanted(key, &why);
		err_set(e, ERR_CONF, "%s", buf_cstr(&why));
		buf_free(&why);
	}
	free(value);
	return e->code;
}

/* ---- to text */

/* As the file would have it: a percent sign doubled, lines after the first indented. */
static void show_text(struct buf *out, const char *text)
{
	for (;; text++) {
		size_t n = strcspn(text, "\n%");
		buf_add(out, text, n);
		text += n;
		if (!*text)
			break;
		buf_str(out, *text == '%' ? "%%" : text[1] && text[1] != '\n' ? "\n    " : "\n");
	}
	buf_str(out, "\n");
}

static void show_seconds(struct buf *out, int64_t ms)
{
	buf_fmt(out, "%lld", (long long)(ms / 1000));
	if (ms % 1000) {
		buf_fmt(out, ".%03d", (int)(ms % 1000));
		while (out->p[out->len - 1] == '0')
			out->len--;
	}
	buf_str(out, "\n");
}

static void show_masked(struct buf *out, const char *conninfo, char *(*mask)(const char *conninfo))
{
	char *masked = mask(conninfo);

	show_text(out, masked);
	free(masked);
}

void key_show(const struct key *key, const struct conf *conf, const struct dest *dest,
	struct buf *out, char *(*mask)(const char *conninfo))
{
	const void *at = member(key, conf, dest);
	struct span word;

	switch (key->type) {
	case KEY_STRING:
	case KEY_PATH:
		show_text(out, *(char *const *)at);
		break;
	case KEY_CONNINFO:
		show_masked(out, *(char *const *)at, mask);
		break;
	case KEY_INT:
		buf_fmt(out, "%" PRId64 "\n", *(const int64_t *)at);
		break;
	case KEY_WORD:
		word = word_of(key, *(const unsigned *)at);
		buf_fmt(out, "%.*s\n", (int)word.n, word.p);
		break;
	case KEY_SECONDS:
		show_seconds(out, *(const int64_t *)at);
		break;
	}
}
