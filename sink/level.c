/*
 * Which stream of a lane has the most waiting rows, about: a level has those from one power of two
 * of bytes to the next, in the order in which they came to it. So it takes no search, however many
 * streams there are.
 */
#include "private.h"

/* The bits of the number. */
static unsigned char level_of(size_t bytes)
{
	return bytes ? (unsigned char)(64 - __builtin_clzll(bytes)) : 0;
}

static void leave(struct level *v, const struct stream *st)
{
	*(st->before ? &st->before->after : &v->first) = st->after;
	*(st->after ? &st->after->before : &v->last) = st->before;
}

static void enter(struct level *v, struct stream *st)
{
	st->before = v->last;
	st->after = NULL;
	*(v->last ? &v->last->after : &v->first) = st;
	v->last = st;
}

static struct level *level_at(struct sink *s, const struct stream *st, unsigned char level)
{
	struct lane *l = &s->lane[st->lane];

	return st->suspect ? &l->suspects : &l->level[level];
}

void level_set(struct sink *s, struct stream *st)
{
	unsigned char level = level_of(st->bytes), before = st->level;

	if (level == before)
		return;
	if (before)
		leave(level_at(s, st, before), st);
	if (level)
		enter(level_at(s, st, level), st);
	st->level = level;
	s->waiting = s->waiting + !before - !level;
	st->whole->waiting = st->whole->waiting + !before - !level;
}

struct stream *level_fullest(const struct sink *s, size_t lane)
{
	size_t i = LEVELS - 1;

	while (i > 0 && !s->lane[lane].level[i].first)
		i--;
	return i ? s->lane[lane].level[i].first : NULL;
}

size_t level_list(const struct sink *s, size_t lane, size_t least, struct stream **list, size_t n)
{
	size_t found = 0;

	for (size_t i = LEVELS - 1; i >= level_of(least); i--)
		for (struct stream *st = s->lane[lane].level[i].first; st; st = st->after) {
			if (found == n)
				return n;
			if (st->bytes >= least)
				list[found++] = st;
		}
	return found;
}
