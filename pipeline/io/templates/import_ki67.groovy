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

import java.util.zip.GZIPInputStream
import qupath.lib.io.GsonTools
import qupath.lib.io.PathIO
import qupath.lib.objects.PathObjects
import qupath.lib.objects.classes.PathClass
import qupath.lib.regions.ImagePlane
import qupath.lib.roi.ROIs

def given = folderByHand ?: (args ? args[0] : null)
def folder = given ? new File(given as String) : new File(buildFilePath(PROJECT_BASE_DIR))
def manifestFile = new File(folder, 'manifest.json')
if (!manifestFile.exists())
    throw new IllegalStateException("No manifest.json in ${folder}: give the results' qupath folder as the script's argument")

def imageName = getProjectEntry() == null ? getCurrentServer().getMetadata().getName() : getProjectEntry().getImageName()
def withoutEnding = { String name -> name.contains('.') ? name.substring(0, name.lastIndexOf('.')) : name }
def manifest = GsonTools.getInstance().fromJson(manifestFile.getText('UTF-8'), Map.class)
def slides = manifest.get('slides')
def found = slides.findAll { it.get('slide_id') == imageName }
if (found.isEmpty())
    found = slides.findAll { it.get('image_name') == imageName }
if (found.isEmpty())
    found = slides.findAll { withoutEnding(it.get('image_name')) == withoutEnding(imageName) }
if (found.isEmpty()) {
    println "${imageName}: not in the results, nothing imported"
    return
}
if (found.size() > 1) {
    def ids = found.collect { it.get('slide_id') }.join(', ')
    throw new IllegalStateException("${imageName}: ambiguous, it may be any of ${ids}. Rename the image in the project to its id")
}
def slide = found[0]
String id = slide.get('slide_id')

def server = getCurrentServer()
int width = slide.get('width') as int, height = slide.get('height') as int
if (server.getWidth() != width || server.getHeight() != height)
    throw new IllegalStateException("${imageName}: QuPath opened ${server.getWidth()} x ${server.getHeight()} pixels, the results are for ${width} x ${height}. Open it with OpenSlide, without --no-crop, rotation or flip")

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
    throw new IllegalStateException("${id}: ${cells.size()} cells in the file, ${expected} in manifest.json. Run `ki67 report` again")

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
fireHierarchyUpdate()
println "${imageName}: ${cells.size()} cells, ${cells.count { it.getPathClass() == positive }} positive"
