"""What a person clicks in a notebook: buckets and peers to explore, and the desk of an album.

Plain objects below (``buckets``, ``looks``, ``peers``), thin widgets above (``explorer``, ``trainer``, ``desk``). The
widgets need plotly and ipywidgets: notebooks take them from their files.
"""
