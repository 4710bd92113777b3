/*
 * Show the local Ki-67 index over the open image. QuPath 0.5 or newer. For research use only.
 *
 * Open the image, then Automate > Script editor > Run. Blue is 0 %, yellow 25 %, vermilion 50 % and
 * more; the more opaque the more cells stand there. The slider "Overlay opacity" fades it, the next
 * line's true takes it away.
 */
def takeAway = false
def folderByHand = ''

import javax.imageio.ImageIO
import qupath.lib.gui.viewer.overlays.BufferedImageOverlay
import qupath.lib.io.GsonTools

def viewer = getCurrentViewer()
if (takeAway) {
    viewer.resetCustomPixelLayerOverlay()
    return
}
// the lines of find_slide.groovy stand here

def picture = new File(folder, id + '.density.png')
if (!picture.exists())
    throw new IllegalStateException("No ${picture}: run `ki67 export OUT --qupath` again")
// the picture covers the image exactly: it is stretched over its whole width and height
viewer.setCustomPixelLayerOverlay(new BufferedImageOverlay(viewer, ImageIO.read(picture)))
println "${imageName}: local Ki-67 index shown"
