/* hostile: a few lines that are a billion constants to the compiler; expects: "does not build" */
#define A                                                                                          \
	1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
#define B A A A A A A A A A A A A A A A A A A A A A A A A A A A A A A A A
#define C B B B B B B B B B B B B B B B B B B B B B B B B B B B B B B B B
#define D C C C C C C C C C C C C C C C C C C C C C C C C C C C C C C C C
#define E D D D D D D D D D D D D D D D D D D D D D D D D D D D D D D D D
#define F E E E E E E E E E E E E E E E E E E E E E E E E E E E E E E E E

static const char bomb[] = { F };

int main(void)
{
	return bomb[0];
}
