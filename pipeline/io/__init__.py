"""Files in, values out: slides, planes, cells, heatmaps, results. The only room with openslide, zarr, shapely."""
