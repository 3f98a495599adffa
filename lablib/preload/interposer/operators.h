/*
 * operators.h - C++'s new and delete, where an allocator brings its own.
 *
 * libstdc++'s call malloc and free, which see to it: they are jumped to, and leave no frame of
 * ours. Those of jemalloc and tcmalloc take their blocks at once, and are counted here. The
 * arguments behind the first one, if any, are handed on as they are: the form doesn't matter.
 */
#ifndef OPERATORS_H
#define OPERATORS_H

#include "mappings.h"
#include <dlfcn.h>

typedef void *new_operator(size_t, u64, u64);
typedef void delete_operator(void *, u64, u64);

static inline int is_the_allocators(const void *function)
{
	return (u64)function - allocator.low < allocator.high - allocator.low;
}

#define NEW(name)                                                                                  \
	EXPORT void *name(size_t size, u64 second, u64 third)                                      \
	{                                                                                          \
		static new_operator *next;                                                         \
		void *block;                                                                       \
                                                                                                   \
		if (!next && !(next = (new_operator *)dlsym(RTLD_NEXT, #name)))                    \
			return malloc(size); /* there is no C++ here */                            \
		if (!is_the_allocators((void *)next))                                              \
			return next(size, second, third);                                          \
		me.last_allocated = 0;                                                             \
		block = next(size, second, third);                                                 \
		if (me.last_allocated != ~(u64)block) /* else it has called malloc */              \
			note_allocation(block, size, FRAME);                                       \
		return block;                                                                      \
	}

#define DELETE(name)                                                                               \
	EXPORT void name(void *block, u64 second, u64 third)                                       \
	{                                                                                          \
		static delete_operator *next;                                                      \
                                                                                                   \
		if (!next && !(next = (delete_operator *)dlsym(RTLD_NEXT, #name))) {               \
			free(block);                                                               \
			return;                                                                    \
		}                                                                                  \
		if (!block || !is_the_allocators((void *)next)) {                                  \
			next(block, second, third);                                                \
			return;                                                                    \
		}                                                                                  \
		note_free(block);                                                                  \
		me.deleted = ~(u64)block; /* should it call free */                                \
		next(block, second, third);                                                        \
		me.deleted = 0;                                                                    \
	}

#define FORMS(form, scalar, array)                                                                 \
	form(scalar) form(array) form(scalar##RKSt9nothrow_t) form(array##RKSt9nothrow_t)          \
		form(scalar##St11align_val_t) form(array##St11align_val_t)                         \
			form(scalar##St11align_val_tRKSt9nothrow_t)                                \
				form(array##St11align_val_tRKSt9nothrow_t)

#endif
