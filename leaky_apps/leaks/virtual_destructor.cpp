/*
 * virtual_destructor.cpp - draws shapes; a polygon is deleted as a shape, and keeps its corners.
 *
 * usage: virtual_destructor [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * The base class has no virtual destructor, so delete calls that of the base, and what the derived
 * class owns is not destroyed. The compiler warns of it, where it is asked to.
 *
 * Try: ./virtual_destructor --rate 100
 */
#include "leaky.h"

#ifndef CORNERS
#define CORNERS 90
#endif

/* The warning would tell all. */
#pragma GCC diagnostic ignored "-Wdelete-non-virtual-dtor"

class Shape
{
      public:
	virtual double draw() = 0;
};

struct Corner {
	double x, y;
};

class Polygon : public Shape
{
      public:
	explicit Polygon(uint64_t seed);
	~Polygon()
	{
		delete[] corners;
	}
	double draw() override;

      private:
	Corner *corners;
};

LEAKY_SITE static Corner *make_corners(uint64_t seed)
{
	Corner *corners = new Corner[CORNERS];

	for (unsigned number = 0; number < CORNERS; number++)
		corners[number] = { double(seed % 100), double(number) };
	return corners;
}

Polygon::Polygon(uint64_t seed) : corners(make_corners(seed))
{
}

double Polygon::draw()
{
	double sum = 0;

	for (unsigned number = 0; number < CORNERS; number++)
		sum += corners[number].x + corners[number].y;
	return sum;
}

LEAKY_SITE static void dispose(Shape *shape)
{
	delete shape;
}

static void draw_shape(uint64_t n)
{
	Shape *shape = new Polygon(n);

	printf("shape %" PRIu64 ": %g\n", n, shape->draw());
	dispose(shape);
}

int main(int argc, char **argv)
{
	leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, draw_shape);
	return 0;
}
