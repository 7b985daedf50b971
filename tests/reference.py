"""Numbers from outside, each with the place it comes from: the tests hold vgglib against them.

"paper" is Simonyan & Zisserman, arXiv 1409.1556 v6; "Distill" is Araujo, Norris & Sim 2019 and the table of
google-research/receptive_field. What the sources leave to be worked out is marked "worked out".
"""

# paper, Table 1, row by row from the input on; the three fully connected layers are the same in all columns
TABLE_1 = {
    "A": "conv3-64 maxpool conv3-128 maxpool conv3-256 conv3-256 maxpool conv3-512 conv3-512 maxpool "
    "conv3-512 conv3-512 maxpool",
    "A-LRN": "conv3-64 LRN maxpool conv3-128 maxpool conv3-256 conv3-256 maxpool conv3-512 conv3-512 maxpool "
    "conv3-512 conv3-512 maxpool",
    "B": "conv3-64 conv3-64 maxpool conv3-128 conv3-128 maxpool conv3-256 conv3-256 maxpool conv3-512 conv3-512 "
    "maxpool conv3-512 conv3-512 maxpool",
    "C": "conv3-64 conv3-64 maxpool conv3-128 conv3-128 maxpool conv3-256 conv3-256 conv1-256 maxpool "
    "conv3-512 conv3-512 conv1-512 maxpool conv3-512 conv3-512 conv1-512 maxpool",
    "D": "conv3-64 conv3-64 maxpool conv3-128 conv3-128 maxpool conv3-256 conv3-256 conv3-256 maxpool "
    "conv3-512 conv3-512 conv3-512 maxpool conv3-512 conv3-512 conv3-512 maxpool",
    "E": "conv3-64 conv3-64 maxpool conv3-128 conv3-128 maxpool conv3-256 conv3-256 conv3-256 conv3-256 maxpool "
    "conv3-512 conv3-512 conv3-512 conv3-512 maxpool conv3-512 conv3-512 conv3-512 conv3-512 maxpool",
}
WEIGHT_LAYERS = {"A": 11, "A-LRN": 11, "B": 13, "C": 16, "D": 16, "E": 19}  # paper, Table 1, second row
NEW_IN_BOLD = {"A-LRN": 1, "B": 2, "C": 3, "D": 3, "E": 3}  # paper, Table 1: layers in bold, column by column

MILLIONS = {"A": 133, "A-LRN": 133, "B": 133, "C": 134, "D": 138, "E": 144}  # paper, Table 2
PARAMETERS = {  # worked out; A, B, D, E are also torchvision's num_params
    "A": 132_863_336,
    "A-LRN": 132_863_336,
    "B": 133_047_848,
    "C": 133_638_952,
    "D": 138_357_544,
    "E": 143_667_240,
}
CONVOLUTIONAL = {  # worked out: the parameters before fc6
    "A": 9_220_480,
    "A-LRN": 9_220_480,
    "B": 9_404_992,
    "C": 9_996_096,
    "D": 14_714_688,
    "E": 20_024_384,
}
FULLY_CONNECTED = {"fc6": 102_764_544, "fc7": 16_781_312, "fc8": 4_097_000}  # worked out: 25088 x 4096 + 4096, ...
BLOCKS_OF_D = (38_720, 221_440, 1_475_328, 5_899_776, 7_079_424)  # mcmap.net/q/243661
GIGA_MACS = {"A": 7.609, "B": 11.308, "C": 11.771, "D": 15.470, "E": 19.632}  # torchvision; C worked out
ACTIVATIONS_OF_D = 15_237_608  # worked out: values at 224 pixels, with input, pools and fc layers

# paper, sections 2.3 and 4.1: B with every pair of 3x3 layers replaced by one 5x5 layer; counts worked out
SHALLOW = "64/5 | 128/5 | 256/5 | 512/5 | 512/5 |"
SHALLOW_CONVOLUTIONAL, SHALLOW_PARAMETERS, SHALLOW_GIGA_MACS = 10_860_672, 134_503_528, 9.356

# torchvision 0.29.2, models/vgg.py, meta["num_params"] and the name of the configuration
TORCHVISION = {
    "vgg11": ("A", False, 132_863_336),
    "vgg11_bn": ("A", True, 132_868_840),
    "vgg13": ("B", False, 133_047_848),
    "vgg13_bn": ("B", True, 133_053_736),
    "vgg16": ("D", False, 138_357_544),
    "vgg16_bn": ("D", True, 138_365_992),
    "vgg19": ("E", False, 143_667_240),
    "vgg19_bn": ("E", True, 143_678_248),
}
# torchvision 0.29.2, meta["num_params"] and meta["_ops"] (billions of MACs at 224 pixels)
OTHER_NETWORKS = {
    "resnet18": (11_689_512, 1.814),
    "mobilenet_v2": (3_504_872, 0.301),
    "googlenet": (6_624_904, 1.498),
    "densenet121": (7_978_856, 2.834),
}

# Dive into Deep Learning, section on VGG: the network drawn, and the one trained (ratio 4); counts worked out
CONV_ARCH = ((1, 64), (1, 128), (2, 256), (2, 512), (2, 512))
D2L_PARAMETERS, D2L_SMALL_PARAMETERS, D2L_SMALL_MACS = 128_806_154, 43_093_322, 512_155_648
D2L_SHAPES = (  # the shapes that its network with 64 to 512 channels prints for one picture of 224 pixels
    *((1, 64, 112, 112), (1, 128, 56, 56), (1, 256, 28, 28), (1, 512, 14, 14), (1, 512, 7, 7)),
    *((1, 25088), (1, 4096), (1, 4096), (1, 4096), (1, 4096), (1, 4096), (1, 4096), (1, 10)),
)

# Distill: pool5 of vgg_a and vgg_16 as (size, stride, padding)
DISTILL = {"A": (150, 32, 59), "D": (212, 32, 90)}
# worked out by the formulas of Distill: size/stride/padding in pixels after each layer, columns A B C D E
RECEPTIVE_FIELDS = """
conv1_1   3/1/1      3/1/1      3/1/1      3/1/1       3/1/1
conv1_2   -          5/1/2      5/1/2      5/1/2       5/1/2
pool1     4/2/1      6/2/2      6/2/2      6/2/2       6/2/2
conv2_1   8/2/3      10/2/4     10/2/4     10/2/4      10/2/4
conv2_2   -          14/2/6     14/2/6     14/2/6      14/2/6
pool2     10/4/3     16/4/6     16/4/6     16/4/6      16/4/6
conv3_1   18/4/7     24/4/10    24/4/10    24/4/10     24/4/10
conv3_2   26/4/11    32/4/14    32/4/14    32/4/14     32/4/14
conv3_3   -          -          32/4/14    40/4/18     40/4/18
conv3_4   -          -          -          -           48/4/22
pool3     30/8/11    36/8/14    36/8/14    44/8/18     52/8/22
conv4_1   46/8/19    52/8/22    52/8/22    60/8/26     68/8/30
conv4_2   62/8/27    68/8/30    68/8/30    76/8/34     84/8/38
conv4_3   -          -          68/8/30    92/8/42     100/8/46
conv4_4   -          -          -          -           116/8/54
pool4     70/16/27   76/16/30   76/16/30   100/16/42   124/16/54
conv5_1   102/16/43  108/16/46  108/16/46  132/16/58   156/16/70
conv5_2   134/16/59  140/16/62  140/16/62  164/16/74   188/16/86
conv5_3   -          -          140/16/62  196/16/90   220/16/102
conv5_4   -          -          -          -           252/16/118
pool5     150/32/59  156/32/62  156/32/62  212/32/90   268/32/118
fc6       342/32/59  348/32/62  348/32/62  404/32/90   460/32/118
"""


def receptive_fields(column: str) -> dict[str, tuple[int, int, int]]:
    """Return RECEPTIVE_FIELDS for "A" to "E": name of the layer to (size, stride, padding)."""
    found = {}
    for line in RECEPTIVE_FIELDS.split("\n")[1:-1]:
        name, *cells = line.split()
        cell = cells["ABCDE".index(column)]
        if cell != "-":
            found[name] = tuple(map(int, cell.split("/")))
    return found


# Distill, figures on alignment, worked out: eight pixels, one path 5 wide with stride 2 and padding (2, 1), one of two
# layers 3 wide; what the four units after the addition see. The text: the second sees six pixels, the third five
MISALIGNED = [(0, 4), (0, 5), (2, 6), (3, 7)]
ALIGNED = (
    3,
    4,
    1,
)  # Distill: 1 wide with stride 4, beside 3 wide with stride 2 and padding (1, 0), then 1 with stride 2
ALEXNET_V2 = (195, 32, 64)  # Distill, the table: alexnet_v2 of TF-Slim at pool5
# size, stride and padding at the last map of torchvision's networks; the sizes of the three ResNets are known figures
# for a stride in the 3x3 layer of a bottleneck, the rest is worked out by the formulas of Distill
RESIDUAL = {"resnet18": (435, 32, 217), "resnet50": (427, 32, 213), "resnet152": (1451, 32, 725)}
# Luo et al. 2016: three uniform layers 3 wide have the kernel (1 3 6 7 6 3 1) / 27, by convolution, and variance 2
THREE_UNIFORM_LAYERS = (1, 3, 6, 7, 6, 3, 1)

# paper, Tables 3, 4 and 5: network, training scale, test scales or method, top-1 and top-5 validation error in per cent
ERRORS_AT_ONE_SCALE = """
A 256 256 29.6 10.4
A-LRN 256 256 29.7 10.5
B 256 256 28.7 9.9
C 256 256 28.1 9.4
C 384 384 28.1 9.3
C [256;512] 384 27.3 8.8
D 256 256 27.0 8.8
D 384 384 26.8 8.7
D [256;512] 384 25.6 8.1
E 256 256 27.3 9.0
E 384 384 26.9 8.7
E [256;512] 384 25.5 8.0
"""
ERRORS_AT_THREE_SCALES = """
B 256 224,256,288 28.2 9.6
C 256 224,256,288 27.7 9.2
C 384 352,384,416 27.8 9.2
C [256;512] 256,384,512 26.3 8.2
D 256 224,256,288 26.6 8.6
D 384 352,384,416 26.5 8.6
D [256;512] 256,384,512 24.8 7.5
E 256 224,256,288 26.9 8.7
E 384 352,384,416 26.7 8.6
E [256;512] 256,384,512 24.8 7.5
"""
ERRORS_BY_METHOD = """
D dense 24.8 7.5
D multi-crop 24.6 7.5
D both 24.4 7.2
E dense 24.8 7.5
E multi-crop 24.6 7.4
E both 24.4 7.1
"""
# paper, Table 6: D and E, both with jitter, and the seven of the contest; validation errors in per cent
ERRORS_OF_TWO = {"dense": 24.0, "multi-crop": 23.9, "both": 23.7}
TOP_5_ERRORS_OF_TWO = {"dense": 7.1, "multi-crop": 7.2, "both": 6.8}
ERRORS_OF_SEVEN = (24.7, 7.5)  # dense; top-1, top-5
SEVEN = """
D/256/224,256,288; D/384/352,384,416; D/[256;512]/256,384,512; C/256/224,256,288; C/384/352,384,416;
E/256/224,256,288; E/384/352,384,416
"""
LADDER_OF_D = (27.0, 25.6, 24.8, 24.6, 24.4, 23.7)  # paper, Tables 3 to 6
# worked out: billions of MACs of D densely at 256, 384 and 512 pixels; 150 crops over three scales with both flips
DENSE_GIGA_MACS, CROPS_OVER_DENSE = (20.5, 49.6, 92.5), 7.1
