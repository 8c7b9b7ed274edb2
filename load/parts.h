/*
 * What missing.c, inside.c and outside.c share: the partitions of a place that are requested. No
 * other file includes it.
 */
#ifndef PARTS_H
#define PARTS_H

#include "private.h"

#define DDL_LOCK_TIMEOUT_MS 1000        /* while a creation waits, readers queue behind it */

struct parts {                          /* of a place */
	struct part_new *want;          /* those before `inside` are created and not committed */
	size_t nwant, want_cap, inside;
	bool simple;                    /* part_template does no more than attach_is_all knows */
	struct attach_split split;      /* of part_template */
	bool last;                      /* those before `inside` are finished after their rows, */
	bool copies;                    /* and the indexes that LIKE would copy are made then */
	struct indexes indexes;
	bool fails_inside;              /* creating inside was refused */
	bool alone;                     /* each is created in a transaction of its own */
	/* By a list: values whose partitions cannot be, because something else has the name. */
	struct refused { int64_t start_s; char *why; } *refused;
	size_t nrefused, refused_cap;
	bool refuses;                   /* one was added since missing_has_refused */
};

/* Requests no more those from `from` on, before `to`. */
void missing_drop(struct parts *, size_t from, size_t to);
/* Are some requested that are neither created nor known to exist? */
bool missing_left(const struct parts *);
void missing_forget_refused(struct parts *);
/* Looks at the answers about those from `from` on: what exists becomes known, what neither exists
 * nor can be created is dropped, the others stay requested. */
void missing_sort_out(struct place *, size_t from);
/* Names the event that needs the partition at that index, if there is one. ERR_DATA: it is
 * requested no more. Returns e's code. */
int missing_blame(struct parts *, size_t at, int64_t *event, const struct err *e);
/* As missing_look, on that connection. */
int missing_ask(struct place *, struct pq *, int64_t *event, struct err *);
bool missing_waits(const struct err *);         /* did somebody else stand in the way? */

#endif
