/* hostile: includes a file that has no end; expects: "does not build" */
#include "/dev/zero"
