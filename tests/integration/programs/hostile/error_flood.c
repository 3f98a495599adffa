/* hostile: makes the compiler print errors without end; expects: "does not build" */
#if __INCLUDE_LEVEL__ < 150
#include __FILE__
#include __FILE__
#error "once more, once more, once more, once more, once more, once more, once more, once more"
#endif
