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
