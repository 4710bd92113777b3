/*
 * Import the cells and areas that ki67-pipeline found. QuPath 0.5 or newer. For research use only.
 *
 * One image:    open it, then Automate > Script editor > Run
 * All images:   Run > Run for project
 * No window:    QuPath script -p project.qpproj -s import_ki67.groovy [-a FOLDER]
 *
 * FOLDER is the folder this file lies in (with manifest.json); it is needed only when the project
 * lies elsewhere: as the script's argument, or written between the quotes of the next line.
 *
 * Detections of the image are replaced. Annotations of yours stay; ours are replaced by their ids.
 */
def folderByHand = ''
// Squares with the local index (ID.tiles.geojson, made by `ki67 export OUT --qupath --tiles tile`).
// They are detections too: QuPath's "Num Detections" then counts them, "Positive %" does not.
def withTiles = false

import java.util.zip.GZIPInputStream
import qupath.lib.io.GsonTools
import qupath.lib.io.PathIO
import qupath.lib.objects.PathObjects
import qupath.lib.objects.classes.PathClass
import qupath.lib.regions.ImagePlane
import qupath.lib.roi.ROIs

// the lines of find_slide.groovy stand here

double radius = slide.get('radius_px') as double
def positive = PathClass.fromString('Positive'), negative = PathClass.fromString('Negative')
def plane = ImagePlane.getDefaultPlane()
def cells = new ArrayList(1 << 16)
new File(folder, id + '.cells.csv.gz').withInputStream { stream ->
    def reader = new BufferedReader(new InputStreamReader(new GZIPInputStream(stream, 1 << 16), 'UTF-8'))
    reader.readLine()
    String line
    while ((line = reader.readLine()) != null) {
        String[] value = line.split(',')
        double x = Double.parseDouble(value[0]), y = Double.parseDouble(value[1])
        def roi = ROIs.createEllipseROI(x - radius, y - radius, 2 * radius, 2 * radius, plane)
        cells.add(PathObjects.createDetectionObject(roi, value[2] == '1' ? positive : negative))
    }
}
int expected = slide.get('cells') as int
if (cells.size() != expected)
    throw new IllegalStateException("${id}: ${cells.size()} cells in the file, ${expected} in manifest.json. Run `ki67 export OUT --qupath` again")

def hierarchy = getCurrentHierarchy()
hierarchy.removeObjects(hierarchy.getDetectionObjects(), false)
hierarchy.addObjects(cells)
def areasFile = new File(folder, id + '.areas.geojson')
if (areasFile.exists()) {
    def areas = PathIO.readObjects(areasFile.toPath())
    def ids = areas.collect { it.getID() } as Set
    def earlier = hierarchy.getAnnotationObjects().findAll { ids.contains(it.getID()) }
    hierarchy.removeObjects(earlier, true)
    hierarchy.addObjects(areas)
}
def tilesFile = new File(folder, id + '.tiles.geojson')
if (withTiles && tilesFile.exists()) {
    def tiles = PathIO.readObjects(tilesFile.toPath())
    def tileIds = tiles.collect { it.getID() } as Set
    hierarchy.removeObjects(hierarchy.getAnnotationObjects().findAll { tileIds.contains(it.getID()) }, true)
    hierarchy.addObjects(tiles)
}
fireHierarchyUpdate()
println "${imageName}: ${cells.size()} cells, ${cells.count { it.getPathClass() == positive }} positive"
