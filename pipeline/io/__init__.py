"""Files in, values out. The only room with openslide, tiffslide, zarr, geopandas and shapely."""
