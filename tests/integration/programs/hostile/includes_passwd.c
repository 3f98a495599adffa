/* hostile: reads a file of the machine into its error message; expects: "/etc/passwd" */
#include "/etc/passwd"
