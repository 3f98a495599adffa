/* hostile: clears the screen and sets its title, as HTML and as a formula; expects: "is \"" */
#include <stdio.h>

int main(void)
{
	puts("\033[2J\033]0;owned\007\r=HYPERLINK(1)<script>alert(1)</script>");
	return 0;
}
