/*
 * Connection strings: whether libpq accepts them, and which parts are secret.
 */
#include <libpq-fe.h>
#include <string.h>

#include "pq.h"

static bool is_secret(const char *keyword)
{
	return strcmp(keyword, "password") == 0 || strcmp(keyword, "sslpassword") == 0 ||
		strcmp(keyword, "oauth_client_secret") == 0;
}

/* Is there an unescaped @ or / in a URI's password? libpq takes the rest of the password for the
 * name of a host or a database, which its messages quote. */
static bool misread_uri(const char *conninfo)
{
	const char *p = strncmp(conninfo, "postgres", 8) == 0 ? strstr(conninfo, "://") : NULL;

	if (!p)
		return false;
	p += strlen("://");
	p += strcspn(p, "@/");
	return *p && memchr(p + 1, '@', strcspn(p + 1, "?"));
}

/* Does one of the hosts, separated by commas, look like USER:PASSWORD@HOST? A name with a leading @
 * is that of a socket, one with a leading / that of a folder. */
static bool has_login(const char *hosts)
{
	for (const char *p = hosts; *p; p += *p == ',') {
		size_t n = strcspn(p, ",");
		if (*p != '/' && n > 1 && memchr(p + 1, '@', n - 1))
			return true;
		p += n;
	}
	return false;
}

/* What is wrong with a value that libpq accepts but that seems to contain a password, which libpq
 * and the server would show in their messages. NULL: nothing. */
static const char *misplaced(const PQconninfoOption *o)
{
	const char *colon = strchr(o->val, ':');

	if (strcmp(o->keyword, "options") == 0)
		return NULL;            /* mask_options hides the secrets in it */
	if (strcasestr(o->val, "password=") || strcasestr(o->val, "passwd=") ||
	    strcasestr(o->val, "pwd="))
		return "a blank or a quote is missing before a password";
	if (strcmp(o->keyword, "dbname") == 0 && colon &&
	    (strstr(o->val, "://") || strchr(colon, '@')))
		return "a URI stands alone, without dbname=";
	if ((strcmp(o->keyword, "host") == 0 || strcmp(o->keyword, "hostaddr") == 0) &&
	    has_login(o->val))
		return "host is a name alone: user and password have keys of their own";
	if (strcmp(o->keyword, "user") == 0 && colon)
		return "user is a name alone: the password has a key of its own";
	if (strcmp(o->keyword, "port") == 0 && o->val[strspn(o->val, "0123456789,")])
		return "invalid port number";
	return NULL;
}

static void check_misplaced(const char *what, const PQconninfoOption *options, struct err *e)
{
	for (const PQconninfoOption *o = options; o->keyword; o++) {
		const char *why = o->val && !is_secret(o->keyword) ? misplaced(o) : NULL;
		if (why)
			err_set(e, ERR_CONF, "%s: %s", what, why);
	}
}

bool conninfo_is_blamed(const char *text)
{
	return strncmp(text, "invalid ", 8) == 0 || strncmp(text, "weak sslmode", 12) == 0 ||
		strstr(text, " for connection option ");
}

/* What our documentation recommends and older versions of libpq do not know, or misread: "system"
 * as the name of a file. value: NULL for any. */
static const struct { const char *keyword, *value; int since; } recent[] = {
	{ "sslrootcert", "system", 160000 },
	{ "require_auth", NULL, 160000 },
	{ "load_balance_hosts", NULL, 160000 },
	{ "sslcertmode", NULL, 160000 },
	{ "sslnegotiation", NULL, 170000 },
};

static void refuse_recent(const char *what, size_t i, struct err *e)
{
	int version = PQlibVersion();

	err_set(e, ERR_CONF, "%s: this program is built with libpq %d.%d, which does not know"
		" %s%s%s: libpq %d is needed", what, version / 10000, version % 10000,
		recent[i].keyword, recent[i].value ? "=" : "",
		recent[i].value ? recent[i].value : "", recent[i].since / 10000);
}

/* why: libpq's error; it quotes a keyword that libpq does not know. */
static void check_keyword(const char *what, const char *why, struct err *e)
{
	static const char refused[] = "invalid connection option \"";
	const char *at = why ? strstr(why, refused) : NULL;

	for (size_t i = 0; at && i < sizeof recent / sizeof *recent; i++) {
		size_t n = strlen(recent[i].keyword);
		const char *name = at + sizeof refused - 1;
		if (strncmp(name, recent[i].keyword, n) == 0 && name[n] == '"')
			refuse_recent(what, i, e);
	}
}

static void check_recent(const char *what, const PQconninfoOption *options, struct err *e)
{
	for (const PQconninfoOption *o = options; o->keyword; o++)
		for (size_t i = 0; i < sizeof recent / sizeof *recent; i++)
			if (o->val && recent[i].value && PQlibVersion() < recent[i].since &&
			    strcmp(o->keyword, recent[i].keyword) == 0 &&
			    strcmp(o->val, recent[i].value) == 0)
				refuse_recent(what, i, e);
}

const char *conninfo_lacks(void)
{
	return PQlibVersion() < 160000 ?
		"sslrootcert=system, require_auth and load_balance_hosts" : NULL;
}

/* libpq checks values only when it connects. So we let it connect to a socket that cannot exist:
 * the failure does not matter, but a value that it refuses is wrong for any server. */
static void check_values(const char *what, const PQconninfoOption *options, struct err *e)
{
	static const char *const where[] = { "host", "hostaddr", "port" };
	const char *keys[64] = { "host" }, *values[64] = { "/dev/null" };
	size_t n = 1;

	for (const PQconninfoOption *o = options; o->keyword && n < 63; o++) {
		bool place = false;
		for (size_t i = 0; i < sizeof where / sizeof *where; i++)
			place |= strcmp(o->keyword, where[i]) == 0;
		if (!o->val || (place && (strcmp(o->keyword, "port") != 0 || strchr(o->val, ','))))
			continue;
		keys[n] = o->keyword;
		values[n++] = o->val;
	}
	PGconn *conn = PQconnectStartParams(keys, values, 0);
	const char *why = PQerrorMessage(conn);
	if (strstr(why, "definition of service"))
		err_set(e, ERR_CONF, "%s: the service that the connection string names is not"
			" defined", what);
	else if (conninfo_is_blamed(why))
		err_set(e, ERR_CONF, "%s: %.*s", what, (int)strcspn(why, "\n"), why);
	PQfinish(conn);
}

/* Names a keyword that libpq does not know, if no password can be a part of it: one with blanks
 * reads as keywords. */
static void name_keyword(const char *what, const char *conninfo, const char *why, struct err *e)
{
	static const char refused[] = "invalid connection option \"";
	const char *at = why ? strstr(why, refused) : NULL;
	const char *name = at ? at + sizeof refused - 1 : "";
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz_");
	const char *there = n ? memmem(conninfo, strlen(conninfo), name, n) : NULL;

	if (there && name[n] == '"' && !strstr(conninfo, "://") &&
	    !memmem(conninfo, (size_t)(there - conninfo), "pass", 4))
		err_set(e, ERR_CONF, "%s: '%.*s' is no connection option", what, (int)n, name);
}

int conninfo_check(const char *what, const char *conninfo, struct err *e)
{
	char *why = NULL;
	PQconninfoOption *options = PQconninfoParse(conninfo, &why);

	if (misread_uri(conninfo))
		err_set(e, ERR_CONF, "%s: @ and / in the user or password of a URI are written %%40"
			" and %%2f (in the config file %%%%40 and %%%%2f)", what);
	if (!options)
		check_keyword(what, why, e);
	if (!options)
		name_keyword(what, conninfo, why, e);
	if (!options)   /* libpq's reason may quote the string, and a password with it */
		err_set(e, ERR_CONF, "%s is no valid connection string (key=value pairs or a"
			" postgresql:// URI)", what);
	else
		check_recent(what, options, e);
	if (!e->code)
		check_misplaced(what, options, e);
	if (!e->code)
		check_values(what, options, e);
	PQconninfoFree(options);
	PQfreemem(why);
	return e->code;
}

/* In options='-c name=value'. A name with a dot is no setting of the server itself, so its value
 * may be anything. */
static bool is_secret_setting(const char *text, size_t name)
{
	return memchr(text, '.', name) || memmem(text, name, "pass", 4) ||
		memmem(text, name, "pwd", 3);
}

static void mask_options(struct buf *out, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, " "), name = strcspn(text, "= ");
		bool masked = name < n && is_secret_setting(text, name);
		buf_add(out, text, masked ? name + 1 : n);
		buf_str(out, masked ? "********" : "");
		text += n;
		n = strspn(text, " ");
		buf_add(out, text, n);
		text += n;
	}
}

/* Appends keyword='value' as it may be shown. Returns whether a secret in it is hidden. */
static bool add_shown(struct buf *out, const PQconninfoOption *o)
{
	struct buf shown = { 0 };

	if (is_secret(o->keyword))
		buf_str(&shown, "********");
	else if (strcmp(o->keyword, "options") == 0)
		mask_options(&shown, o->val);
	else
		buf_str(&shown, o->val);
	buf_fmt(out, "%s%s='", out->len ? " " : "", o->keyword);
	for (const char *c = buf_cstr(&shown); *c; c++)
		buf_fmt(out, *c == '\'' || *c == '\\' ? "\\%c" : "%c", *c);
	buf_str(out, "'");
	bool masked = strcmp(buf_cstr(&shown), o->val) != 0;
	buf_free(&shown);
	return masked;
}

char *conninfo_mask(const char *conninfo)
{
	PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
	struct buf out = { 0 };
	bool secrets = false;

	for (PQconninfoOption *o = options; o && o->keyword; o++) {
		if (!o->val)
			continue;
		secrets |= add_shown(&out, o);
	}
	if (options && !secrets) {
		out.len = 0;
		buf_str(&out, conninfo);
	}
	PQconninfoFree(options);
	buf_cstr(&out);
	return out.p;
}
